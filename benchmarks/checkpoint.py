"""What a checkpoint costs training: the time it stands still, against a save that it waits for.

    python benchmarks/checkpoint.py [--parameters 75000000] [--rounds 5] [--folder FOLDER]

Two gloo ranks of one thread hold the weights of 75M parameters and Adam's two moments in float32 (900 MB), sharded,
as `gptoss/train/checkpoint.py` saves them. Between saves they take steps that are matrix products and one sum. In
turns: a save that is waited for (`save`, then `commit`), and one that is written while steps go on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RANKS = 2
COLUMNS = 1024
LAYERS = 12


def rank(parameters: int, rounds: int, folder: Path) -> None:
    """One rank; rank 0 prints what was measured."""
    import torch
    from torch.distributed.tensor import Shard, distribute_tensor

    from gptoss.config.cluster import CheckpointsConfig as Policy
    from gptoss.config.cluster import ClusterConfig
    from gptoss.train.checkpoint import Checkpoints
    from gptoss.train.parallel_context import init_parallel_context

    on = ClusterConfig.model_validate({
        "nodes": 1, "processes_per_node": RANKS, "threads_per_process": 1, "device": "cpu", "launcher": "torchrun",
        "mesh": {"pp": 1, "dp_replicate": 1, "dp_shard": RANKS}, "micro_batch": 1, "activation_checkpointing": "none",
        "checkpoints": {"every_steps": 1, "keep": 1}, "log_every_steps": 1, "parallel_stages": 1,
    })  # fmt: skip
    with init_parallel_context(on) as parallel:
        rows = parameters // LAYERS // COLUMNS
        tensors = {
            f"{kind}.layers.{layer}.weight": distribute_tensor(
                torch.randn(rows, COLUMNS), parallel.mesh["dp_shard"], [Shard(0)]
            )
            for kind in ("model", "exp_avg", "exp_avg_sq")
            for layer in range(LAYERS)
        }
        checkpoints = Checkpoints(folder, Policy(every_steps=1, keep=1), parallel)
        matrix = torch.randn(768, 768)

        def step(done: bool) -> float:
            for _ in range(4):
                matrix @ matrix
            return parallel.all_reduce_sum([float(done)])[0]

        measured: dict[str, list[float]] = {"waited": [], "stalled": [], "written": [], "step": [], "step_writing": []}
        for number in range(2 * rounds + 2):
            waited = number % 2 == 0
            for _ in range(5):
                began = time.perf_counter()
                step(False)
                measured["step"].append(time.perf_counter() - began)
            begins = time.perf_counter()
            checkpoints.save(number + 1, tensors, {})
            stalled = time.perf_counter() - begins
            while not waited:
                began = time.perf_counter()
                if step(checkpoints.written) == RANKS:
                    break
                measured["step_writing"].append(time.perf_counter() - began)
            began = time.perf_counter()
            checkpoints.commit(written=not waited)
            ends = time.perf_counter()
            if number >= 2:  # the first of each makes buffers
                measured["waited" if waited else "stalled"].append(ends - begins if waited else stalled + ends - began)
                measured["written"] += [] if waited else [ends - begins]
        checkpoints.close()
        size = sum(path.stat().st_size for path in folder.rglob("*.distcp"))
    if parallel.rank == 0:
        print(json.dumps(result(measured, size)))


def result(measured: dict[str, list[float]], size: int) -> dict[str, Any]:
    """Medians, in seconds."""
    middle = {key: statistics.median(values) for key, values in measured.items()}
    return {
        "checkpoint_mb": round(size / 1e6),
        "sync_seconds": round(middle["waited"], 3),
        "stall_seconds": round(middle["stalled"], 3),
        "stall_ratio": round(middle["stalled"] / middle["waited"], 3),
        "async_seconds": round(middle["written"], 3),
        "step_slowdown_while_writing": round(middle["step_writing"] / middle["step"], 2),
        "mb_per_second": round(size / 1e6 / middle["waited"]),
    }


def main() -> None:
    """Start the ranks; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=75_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where checkpoints go (a temporary folder)")
    options = parser.parse_args()
    if "RANK" in os.environ:
        rank(options.parameters, options.rounds, options.folder)
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--parameters", str(options.parameters), "--rounds", str(options.rounds)]
    shared = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    try:
        processes = [
            subprocess.Popen(
                [*command, "--folder", str(folder)], env=os.environ | shared | {"RANK": str(n), "LOCAL_RANK": str(n)}
            )
            for n in range(RANKS)
        ]
        sys.exit(max(process.wait() for process in processes))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
