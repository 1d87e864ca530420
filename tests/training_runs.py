"""Shards with structure to learn, tiny models, and real multi-process training runs of them.

A plain module, shared by the tests of models, train, simulate and launch, whose `conftest.py` import the fixtures.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gptoss.config.cluster import ClusterConfig
from gptoss.config.settings import Settings
from gptoss.core.atomic_files import write_json
from gptoss.train.run_config import RunConfig
from tests.conftest import ROOT
from tests.train.layouts import Run

VOCABULARY = 320
SOURCES = ("gutenberg", "web", "wikipedia")
TINY = {
    "model.hidden_size": 32, "model.layers": 3, "model.heads": 4, "model.kv_heads": 2, "model.ffn_size": 48,
    "model.context": 16, "tokenizer.vocab_size": VOCABULARY, "instruct.max_length": 16,
    "pretrain.batch_tokens": 8 * 16, "pretrain.steps": 6, "pretrain.warmup_steps": 2,
    "pretrain.validate_every": 2, "pretrain.validation_tokens": 160,
}  # fmt: skip


def write_shards(folder: Path, vocabulary: int = VOCABULARY) -> None:
    """Two splits of a second-order sequence, the training split over several files and three sources."""
    folder.mkdir(parents=True)
    splits: dict[str, Any] = {}
    for split, sizes in (("train", (1500, 1500, 97)), ("validation", (401,))):
        generator = np.random.default_rng(len(split))
        edges = [0, sum(sizes) // 8, sum(sizes) // 2, sum(sizes)]
        tokens = np.cumsum(generator.integers(0, 7, sum(sizes))) % 64 + 4
        shards = []
        for number, part in enumerate(np.split(tokens.astype("<u2"), np.cumsum(sizes)[:-1])):
            name = f"{split}-{number:05d}.bin"
            part.tofile(folder / name)
            shards.append(
                {"file": name, "tokens": len(part), "sha256": hashlib.sha256(part.tobytes()).hexdigest()}
            )  # fmt: skip
        splits[split] = {
            "shards": shards, "tokens": len(tokens), "documents": 1, "bytes": 3 * len(tokens),
            "sources": {
                source: {"start": start, "tokens": stop - start}
                for source, (start, stop) in zip(SOURCES, itertools.pairwise(edges), strict=True)
            },
        }  # fmt: skip
    write_json(
        folder / "index.json", {"dtype": "uint16", "vocab_size": vocabulary, "tokenizer_sha256": "", "splits": splits}
    )


@pytest.fixture
def tiny(settings_with: Callable[..., Settings]) -> Callable[..., Settings]:
    """`tiny(**changes)`: settings of a model with about 40,000 parameters."""
    return lambda **changes: settings_with(**TINY | changes)


def cluster(pp: int = 1, shard: int = 1, replicate: int = 1, tp: int = 1, **changes: Any) -> ClusterConfig:
    """A CPU cluster of `pp * replicate * shard * tp` processes of one thread."""
    values: dict[str, Any] = {
        "nodes": 1, "processes_per_node": pp * shard * replicate * tp, "threads_per_process": 1, "device": "cpu",
        "launcher": "torchrun", "mesh": {"pp": pp, "dp_replicate": replicate, "dp_shard": shard, "tp": tp},
        "micro_batch": 2, "activation_checkpointing": "none", "checkpoints": {"every_steps": 100, "keep": 2},
        "log_every_steps": 1, "parallel_stages": 1,
    }  # fmt: skip
    return ClusterConfig.model_validate(values | changes)


@pytest.fixture
def checkout(workspace: Path, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A working folder with shards, `params.yaml` and a cluster file: `checkout(cluster(...), **changes)`."""
    write_shards(workspace / "data" / "shards")
    monkeypatch.setenv("GPTOSS_CLUSTER", "test")

    def make(on: ClusterConfig, **changes: object) -> Path:
        (workspace / "params.yaml").write_text(
            yaml.safe_dump(json.loads(tiny(**changes).model_dump_json(by_alias=True)))
        )
        (workspace / "infra" / "clusters" / "test.yaml").write_text(yaml.safe_dump(on.model_dump()))
        return workspace

    return make


@pytest.fixture
def make_run_config(tiny: Callable[..., Settings], workspace: Path) -> Callable[..., RunConfig]:
    """`make_run_config(cluster(pp=2), "float64", **changes)`: a run in a fresh working folder with shards."""
    write_shards(workspace / "data" / "shards")

    def make(on: ClusterConfig, precision: str = "float16", **changes: Any) -> RunConfig:
        state = workspace / ".runs" / "pretrain"
        return RunConfig(settings=tiny(**changes), cluster=on, precision=precision, state=state, attempt="test")

    return make


def rank_environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What a launcher sets for a rank."""
    return os.environ | {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT),
    }  # fmt: skip


def free_port() -> int:
    """A port below the ephemeral range, so that the system does not assign it before the ranks bind it."""
    while True:
        port = random.SystemRandom().randrange(11_000, 20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def run_ranks(size: int, program: str, *arguments: str, seconds: float = 900) -> None:
    """Run `python -m PROGRAM ARGUMENTS` as `size` ranks, all of which must succeed."""
    command = [sys.executable, "-m", program, *arguments]
    processes = [subprocess.Popen(command, env=rank_environment(rank, size, free_port())) for rank in range(size)]
    deadline = time.monotonic() + seconds
    try:
        while any(process.poll() is None for process in processes):
            if any(process.poll() for process in processes) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    assert [process.wait() for process in processes] == [0] * size


@dataclass
class Outcome:
    """Results of one run, equal on all of its ranks."""

    steps: np.ndarray
    """`(steps, 4)`: step, loss, gradient norm, loss scale."""
    validation: float
    scaler: dict[str, float]
    tensors: dict[str, np.ndarray]
    """Weights and moments by global name, over all stages."""


def take_steps(runs: dict[str, tuple[RunConfig, int]], **changes: Any) -> dict[str, Outcome]:
    """Run some steps of each of several runs with the same number of ranks, in one set of processes:
    `{name: (run_config, steps)}`. `changes` are further fields of `layouts.Run`, by name."""
    files = []
    for name, (run_config, steps) in runs.items():
        run_config.write(Path(f"{name}.config.json"))
        run = Run(f"{name}.config.json", name, steps, free_port(), **changes.get(name, {}))
        run.write(Path(f"{name}.run.json"))
        files.append(f"{name}.run.json")
    (size,) = {run_config.cluster.mesh.size for run_config, _ in runs.values()}
    run_ranks(size, "tests.train.layouts", *files)
    return {name: outcome(Path(name), run_config.cluster) for name, (run_config, _) in runs.items()}


def outcome(results: Path, on: ClusterConfig) -> Outcome:
    ranks = [json.loads((results / f"rank-{rank}.json").read_text()) for rank in range(on.mesh.size)]
    assert all(str(rank) == str(ranks[0]) for rank in ranks), "ranks disagree"  # as text, for NaN is not NaN
    tensors: dict[str, np.ndarray] = {}
    for rank in range(on.mesh.pp):
        tensors |= dict(np.load(results / f"pp-{rank}.npz"))
    return Outcome(np.array(ranks[0]["steps"]), ranks[0]["validation"], ranks[0]["scaler"], tensors)
