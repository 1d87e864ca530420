"""Throughput of the training step of `params.yaml` in every parallel layout that two cores can run, and in one process.

    python benchmarks/layouts.py [--seconds 8] [--rounds 1] [--only NAME...]

Runs the real step (`gptoss.train.step`) on random tokens in processes connected by gloo, one thread each, except `one`,
which has one thread per core and does not shard. Layouts take turns; figures are medians over the rounds. The last line
of the output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
INTERLEAVED = {"schedule": "interleaved_1f1b", "stages_per_rank": 2}
ZERO_BUBBLE = {"schedule": "zero_bubble", "stages_per_rank": 1}
# The default step has 16 sequences. Without a pipeline a rank takes its share as one micro-batch; pipelines split it
# into several, because their stages overlap only between micro-batches.
LAYOUTS: dict[str, dict[str, Any]] = {
    "one": {"micro_batch": 16},
    "one-compiled": {"micro_batch": 16, "compile": True},
    "dp2": {"dp_shard": 2, "micro_batch": 8},
    "hybrid2": {"dp_replicate": 2, "micro_batch": 8},
    "tp2": {"tp": 2, "micro_batch": 16},
    "pp2": {"pp": 2, "micro_batch": 4},
    "pp2-interleaved": {"pp": 2, "micro_batch": 4, "pipeline": INTERLEAVED},
    "pp2-zero-bubble": {"pp": 2, "micro_batch": 4, "pipeline": ZERO_BUBBLE},
    "pp2-dp2": {"pp": 2, "dp_shard": 2, "micro_batch": 4},
}
AXES = ("pp", "dp_replicate", "dp_shard", "tp")
# Steps before the measurement starts.
WARM_UP = 5  # compilation and the first allocations happen in them


def cluster(layout: dict[str, Any]) -> dict[str, Any]:
    """The content of a cluster file."""
    mesh = {axis: layout.get(axis, 1) for axis in AXES}
    size = mesh["pp"] * mesh["dp_replicate"] * mesh["dp_shard"] * mesh["tp"]
    return {
        "nodes": 1, "processes_per_node": size, "threads_per_process": os.cpu_count() if size == 1 else 1,
        "device": "cpu", "launcher": "torchrun", "mesh": mesh, "activation_checkpointing": "none",
        "checkpoints": {"every_steps": 1, "keep": 1}, "log_every_steps": 1, "parallel_stages": 1,
        **{key: value for key, value in layout.items() if key not in AXES},
    }  # fmt: skip


def measure(name: str, seconds: float) -> tuple[float, float] | None:
    """Tokens per second, and tokens per CPU second of all ranks, of one layout in new processes.

    Returns None when the settings cannot be divided over the layout.
    """
    from gptoss.config.cluster import ClusterConfig
    from gptoss.config.settings import load_settings
    from gptoss.core.errors import UserError
    from gptoss.train.run_config import RunConfig

    settings = load_settings()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        run_config = RunConfig(
            settings=settings, cluster=ClusterConfig.model_validate(cluster(LAYOUTS[name])),
            precision=settings.pretrain.precision, state=Path(folder), attempt=name,
        )  # fmt: skip
        try:
            run_config.layout  # noqa: B018 - raises when the settings cannot be divided
        except UserError as error:
            print(f"{name}: {error.problem}", file=sys.stderr)
            return None
        run_config.write(Path(folder) / "run.json")
        probe.bind(("127.0.0.1", 0))
        environment = os.environ | {
            # Without the interface name, gloo resolves the host name, which fails in some containers.
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo",
            "WORLD_SIZE": str(run_config.cluster.mesh.size), "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(run_config.cluster.threads_per_process),
        }  # fmt: skip
        probe.close()  # frees the port for rank 0
        command = [sys.executable, __file__, "--rank", folder, "--seconds", str(seconds)]
        processes = [
            subprocess.Popen(command, env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(run_config.cluster.mesh.size)
        ]
        codes = [process.wait() for process in processes]
        if any(codes):
            sys.exit(f"error: {name}: a rank failed (exit codes {codes})")
        rate, by_cpu = json.loads((Path(folder) / "rates.json").read_text())
        return rate, by_cpu


def run_rank(folder: Path, seconds: float) -> None:
    """Train on random tokens; rank 0 decides for all ranks when the time is over."""
    import torch
    from torch import Tensor

    from gptoss.train.parallel_context import init_parallel_context
    from gptoss.train.run_config import RunConfig
    from gptoss.train.step import Trainer

    class RandomTokenTrainer(Trainer):
        def open_data(self) -> None:
            """Do nothing: there are no shards."""

        def batch(self, step: int) -> tuple[Tensor, Tensor]:
            shape = (self.run_config.layout.sequences_per_rank, self.run_config.settings.model.context + 1)
            windows = torch.randint(0, self.run_config.settings.tokenizer.vocab_size, shape)
            return windows[:, :-1], windows[:, 1:]

    run_config = RunConfig.read(folder / "run.json")
    with init_parallel_context(run_config.cluster) as parallel:
        trainer = RandomTokenTrainer(run_config, parallel)
        for step in range(1, WARM_UP + 1):
            trainer.step(step)
        start, start_cpu, step = time.monotonic(), time.process_time(), WARM_UP
        # Broadcast: ranks whose clocks disagree would otherwise run a different number of steps and hang.
        while parallel.broadcast_object(time.monotonic() - start < seconds):
            step += 1
            trainer.step(step)
        tokens = (step - WARM_UP) * run_config.settings.pretrain.batch_tokens
        wall = time.monotonic() - start
        # CPU seconds of all ranks: a layout that waits for the other core is not slower by this measure.
        (cpu,) = parallel.all_reduce_sum([time.process_time() - start_cpu])
        if parallel.rank == 0:
            (folder / "rates.json").write_text(json.dumps([tokens / wall, tokens / cpu]))


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if arguments.rank:
        return run_rank(arguments.rank, arguments.seconds)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in arguments.only}
    for _ in range(arguments.rounds):
        for name, measured in rates.items():
            rate = measure(name, arguments.seconds)
            if rate is not None:
                measured.append(rate)
                print(f"{name}: {rate[0]:,.0f} tokens/s", file=sys.stderr, flush=True)
    walls, cpus = (
        {name: statistics.median(rate[kind] for rate in measured) for name, measured in rates.items() if measured}
        for kind in (0, 1)
    )
    result: dict[str, Any] = {"tokens_per_second": {name: round(rate) for name, rate in walls.items()}}
    if "one" in walls:  # with --only there may be no reference
        result["ratio_to_one_process"] = {name: round(rate / walls["one"], 3) for name, rate in walls.items()}
        result["ratio_by_cpu_seconds"] = {name: round(rate / cpus["one"], 3) for name, rate in cpus.items()}
    print(json.dumps(result))
    return None


if __name__ == "__main__":
    main()
