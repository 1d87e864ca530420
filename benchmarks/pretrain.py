"""Throughput of our whole training loop compared with HF Trainer, litgpt and nanochat, on the CPU of this machine.

    python benchmarks/pretrain.py [--rounds 5] [--nanochat FOLDER] [--folder .benchmarks]

All train the same model of 9.5M parameters on the same tokens in float32 with the same micro-batches and one thread, in
eager mode; ours also runs compiled. All are started once and then take turns of one step (`peers/train_step.py`,
`peers/train_loop.py`), in a different order each round. The first step is not measured; figures are medians over the
rounds. Ours is the loop of the stage with data, logging, clipping and checkpoints. HF Trainer logs every step and saves
as often as ours; litgpt and nanochat run in a bare loop of forward, backward, clip and step. The last line of the
output is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from environments import environment

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
# The same torch as ours: its kernels take most of the time.
LITGPT = ("litgpt==0.5.13", "torch==2.13.0", "numpy")
MODEL = {
    "architecture": "llama", "hidden_size": 256, "layers": 10, "heads": 8, "kv_heads": 4, "ffn_size": 704,
    "context": 512, "rope_theta": 10000.0, "rope_scaling": None, "norm_eps": 1e-5, "tie_embeddings": False,
}  # fmt: skip
# Two micro-batches per step: accumulation of gradients is part of the comparison.
VOCABULARY, SEQUENCES, MICRO_BATCH, SAVE_EVERY = 4096, 4, 2, 4
# Parameters in matrix products: all but those of the input embedding, which is a lookup.
MULTIPLIED = 8_426_752
# Forward and backward cost 6 operations per such parameter. Attention costs 12 per layer, context position and hidden
# unit (Chowdhery et al. 2022, appendix B), of which a causal mask needs half.
FLOPS_PER_TOKEN = 6 * MULTIPLIED + 6 * 10 * 512 * 256


def main() -> None:
    """Start all contestants, let them take turns, print the comparison."""
    arguments = _arguments()
    folder = arguments.folder.resolve() / "pretrain"
    contestants = start(folder, arguments.nanochat)
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    peaks = []
    for number in range(arguments.rounds + 1):
        # In another order each round: a contestant finds the caches as the one before it left them.
        for name in random.Random(number).sample(sorted(contestants), len(contestants)):
            process = contestants[name]
            # One step takes as long as those of all others together: it is measured once, without a warm-up.
            slow = name == "native_half"
            if slow and number:
                continue
            turn = take_turn(process)
            if number or slow:
                turns[name].append(turn)
        # Every round: the processor's clock rate changes with its load and temperature.
        peaks.append(matmul_peak())
    # Killed, because they wait for a turn; their checkpoints are not needed.
    for process in contestants.values():
        process.kill()
    print(json.dumps(figures(turns, max(peaks))))


def start(folder: Path, nanochat: Path | None) -> dict[str, Any]:
    """Start every contestant and wait until it is ready for its first turn."""
    write_data(folder)
    config = {
        "model": MODEL, "vocabulary": VOCABULARY, "context": 512, "sequences": SEQUENCES, "micro_batch": MICRO_BATCH,
        "threads": 1, "steps": 1, "save_every": SAVE_EVERY, "folder": str(folder),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    peers: dict[str, tuple[Path | str, str]] = {
        name: (sys.executable, str(ROOT)) for name in ("ours_bare", "hugging_face")
    }
    if python := environment(folder.parent / "litgpt", LITGPT):
        peers["litgpt"] = python, ""
    if nanochat:
        peers["nanochat"] = sys.executable, str(nanochat.resolve())
    else:
        print("nanochat is left out: it is not on PyPI; name a checkout with --nanochat", file=sys.stderr)
    loops = {  # precision, processes, threads per process
        "ours": ("float32", 1, 1), "ours_half": ("float16", 1, 1), "native_half": ("float16", 1, 1),
        "two_threads": ("float32", 1, 2), "two_processes": ("float32", 2, 1), "ours_compiled": ("float32", 1, 1),
    }  # fmt: skip
    running = {name: start_loop(folder, name, *options) for name, options in loops.items()}
    for name, (python, path) in peers.items():
        command = [str(python), str(PEERS / "train_step.py"), name, "config.json", "data/shards/train-00000.bin"]
        running[name] = _start(name, command, folder, {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    for name, process in list(running.items()):
        if process.stdout.readline().strip() != "ready":
            print(f"{name} failed to start, so it is left out: see {folder / name}.log", file=sys.stderr)
            del running[name]
    return running


def start_loop(folder: Path, name: str, precision: str, processes: int, threads: int) -> Any:
    """Start our loop and return its first process, which waits for turns; the others follow it."""
    sys.path.insert(0, str(ROOT))
    from gptoss.config.cluster import ClusterConfig
    from gptoss.config.settings import Settings
    from gptoss.config.yaml_sections import load_yaml
    from gptoss.train.run_config import RunConfig

    values = load_yaml(ROOT / "profiles" / "tiny.yaml")
    values["model"] = MODEL
    values["tokenizer"] |= {"vocab_size": VOCABULARY, "pad_to_multiple_of": 64}
    # Never validate and never finish: the benchmark ends the processes.
    values["pretrain"] |= {"batch_tokens": SEQUENCES * 512, "steps": 10**6, "validate_every": 10**6}
    cluster = load_yaml(ROOT / "infra" / "clusters" / "single.yaml") | {
        "processes_per_node": processes, "threads_per_process": threads, "micro_batch": MICRO_BATCH,
        "mesh": {"pp": 1, "dp_replicate": 1, "dp_shard": processes, "tp": 1},
        "checkpoints": {"every_steps": SAVE_EVERY, "keep": 1}, "log_every_steps": 10,
        "compile": name == "ours_compiled",
    }  # fmt: skip
    # The process id: a checkpoint of an earlier run would be resumed.
    state = folder / f"state-{name}-{os.getpid()}"
    state.mkdir()
    run_config = RunConfig(
        settings=Settings.model_validate(values), cluster=ClusterConfig.model_validate(cluster), precision=precision,
        state=state, attempt="benchmark",
    )  # fmt: skip
    run_config.write(state / "run.json")
    arithmetic = "native" if name == "native_half" else "ours"
    command = [sys.executable, str(PEERS / "train_loop.py"), str(state / "run.json"), "1", arithmetic]
    # Closed again before the ranks start; they need the port a few seconds later.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [
        _start(name, command, folder, {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), "RANK": str(rank), "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",  # otherwise gloo resolves the host name, which fails in some containers
        })
        for rank in range(processes)
    ]  # fmt: skip
    return ranks[0]


def _start(name: str, command: list[str], folder: Path, variables: dict[str, str]) -> Any:
    log = open(folder / f"{name}.log", "a")  # noqa: SIM115 - the child process writes to it
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=log,
    )  # fmt: skip


def take_turn(process: Any) -> dict[str, float]:
    """Let a contestant take one turn; lines that its libraries print are skipped."""
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith('{"seconds"'):
            turn: dict[str, float] = json.loads(line)
            return turn
    raise SystemExit("error: a contestant exited; see the logs in the folder of the benchmark")


def write_data(folder: Path) -> None:
    """Write shards of random tokens: the speed does not depend on their values."""
    shards = folder / "data" / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, count in (("train", 2_000_000), ("validation", 40_000)):
        # From 4 on: the ids below are special tokens.
        tokens = np.random.default_rng(1).integers(4, VOCABULARY, count).astype("<u2")
        file = f"{split}-00000.bin"
        tokens.tofile(shards / file)
        shard = {"file": file, "tokens": count, "sha256": hashlib.sha256(tokens.tobytes()).hexdigest()}
        splits[split] = {
            "shards": [shard], "tokens": count, "documents": 1, "bytes": 3 * count,
            "sources": {"gutenberg": {"start": 0, "tokens": count}},
        }  # fmt: skip
    index = {"dtype": "uint16", "vocab_size": VOCABULARY, "tokenizer_sha256": "", "splits": splits}
    (shards / "index.json").write_text(json.dumps(index))


def matmul_peak() -> float:
    """Operations per second of the fastest of ten float32 matrix products on one core."""
    import torch

    torch.set_num_threads(1)
    a = torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return float(2 * 1024**3 / best)


def figures(turns: dict[str, list[dict[str, float]]], peak_flops: float) -> dict[str, Any]:
    """The comparison, by wall time and by CPU time."""
    tokens = SEQUENCES * 512  # of a turn

    def speeds(key: str) -> dict[str, float]:
        return {name: tokens / median(turn[key] for turn in taken) for name, taken in turns.items() if taken}

    result: dict[str, Any] = {}
    for suffix, key in (("", "seconds"), ("_by_cpu_seconds", "cpu_seconds")):
        speed = speeds(key)
        peers = [speed[name] for name in ("hugging_face", "litgpt", "nanochat") if name in speed]
        result |= {
            f"tokens_a_second{suffix}": {name: round(value, 1) for name, value in speed.items()},
            f"ratio_best_peer{suffix}": round(speed["ours"] / max(peers), 3),
            f"ratio_median_peer{suffix}": round(speed["ours"] / median(peers), 3),
            f"ratio_best_peer_compiled{suffix}": round(speed["ours_compiled"] / max(peers), 3),
            f"loop_overhead{suffix}": round(speed["ours_bare"] / speed["ours"] - 1, 3),
            f"fp16_over_fp32{suffix}": round(speed["ours_half"] / speed["ours"], 3),
            f"fp16_over_native_half{suffix}": round(speed["ours_half"] / speed["native_half"], 1),
            f"fraction_of_matmul_peak{suffix}": round(speed["ours"] * FLOPS_PER_TOKEN / peak_flops, 3),
        }
    # Two processes cost one core each, as two threads do, so this compares sharding with threading.
    wall = speeds("seconds")
    result["two_process_ratio"] = round(wall["two_processes"] / wall["two_threads"], 3)
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nanochat", type=Path, help="a checkout of nanochat; without it, nanochat is left out")
    parser.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
