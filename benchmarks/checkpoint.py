"""How long training pauses for an asynchronous checkpoint, compared with a synchronous one.

    python benchmarks/checkpoint.py [--parameters 75000000] [--rounds 5] [--folder FOLDER]

Two gloo ranks with one thread each hold the weights of 75M parameters and Adam's two moments in float32 (900 MB),
sharded, as `gptoss/train/checkpoint.py` saves them. Between saves they take synthetic steps: matrix products and one
all-reduce. Synchronous saves (`save`, then `commit` immediately) and saves that are written while steps continue
alternate.
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
# With the weights and two moments these are 36 tensors, of 25 MB each at the default size.
COLUMNS = 1024
LAYERS = 12


def rank(parameters: int, rounds: int, folder: Path) -> None:
    """Run one rank; rank 0 prints the measurements."""
    import torch
    from torch.distributed.tensor import Shard, distribute_tensor

    from gptoss.config.cluster import CheckpointsConfig, ClusterConfig
    from gptoss.train.checkpoint import Checkpoints
    from gptoss.train.parallel_context import init_parallel_context

    cluster = ClusterConfig.model_validate({
        "nodes": 1, "processes_per_node": RANKS, "threads_per_process": 1, "device": "cpu", "launcher": "torchrun",
        "mesh": {"pp": 1, "dp_replicate": 1, "dp_shard": RANKS}, "micro_batch": 1, "activation_checkpointing": "none",
        "checkpoints": {"every_steps": 1, "keep": 1}, "log_every_steps": 1, "parallel_stages": 1,
    })  # fmt: skip
    with init_parallel_context(cluster) as parallel:
        rows = parameters // LAYERS // COLUMNS
        tensors = {
            f"{kind}.layers.{layer}.weight": distribute_tensor(
                torch.randn(rows, COLUMNS), parallel.mesh["dp_shard"], [Shard(0)]
            )
            for kind in ("model", "exp_avg", "exp_avg_sq")
            for layer in range(LAYERS)
        }
        checkpoints = Checkpoints(folder, CheckpointsConfig(every_steps=1, keep=1), parallel)
        # A step must keep its core busy, because writing and hashing compete for it in training too.
        matrix = torch.randn(768, 768)

        def step(done: bool) -> float:
            """One synthetic step; returns the number of ranks that are done."""
            for _ in range(4):
                matrix @ matrix
            return parallel.all_reduce_sum([float(done)])[0]

        seconds: dict[str, list[float]] = {"sync": [], "stall": [], "async": [], "step": [], "step_writing": []}
        # Both kinds of saves alternate, so that a disk whose cache fills up slows both; the first of each is dropped.
        for number in range(2 * rounds + 2):
            synchronous = number % 2 == 0
            for _ in range(5):
                start = time.perf_counter()
                step(False)
                seconds["step"].append(time.perf_counter() - start)
            save_start = time.perf_counter()
            checkpoints.save(number + 1, tensors, {})
            stall = time.perf_counter() - save_start
            while not synchronous:
                start = time.perf_counter()
                # Summed over ranks: all leave the loop at the same step, because `commit` is collective.
                if step(checkpoints.written) == RANKS:
                    break
                seconds["step_writing"].append(time.perf_counter() - start)
            start = time.perf_counter()
            checkpoints.commit(written=not synchronous)
            end = time.perf_counter()
            if number < 2:
                continue  # the first save of each kind allocates its buffers
            if synchronous:
                seconds["sync"].append(end - save_start)
            else:
                seconds["stall"].append(stall + end - start)
                seconds["async"].append(end - save_start)
        checkpoints.close()
        size = sum(path.stat().st_size for path in folder.rglob("*.distcp"))
    if parallel.rank == 0:
        print(json.dumps(result(seconds, size)))


def result(seconds: dict[str, list[float]], size: int) -> dict[str, Any]:
    """The JSON object: medians in seconds, and ratios of them. `size`: bytes of one checkpoint."""
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    return {
        "checkpoint_mb": round(size / 1e6),
        "sync_seconds": round(medians["sync"], 3),
        "stall_seconds": round(medians["stall"], 3),
        "stall_ratio": round(medians["stall"] / medians["sync"], 3),
        "async_seconds": round(medians["async"], 3),
        "step_slowdown_while_writing": round(medians["step_writing"] / medians["step"], 2),
        "mb_per_second": round(size / 1e6 / medians["sync"]),
    }


def main() -> None:
    """Start the ranks; the last line of the output is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=75_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="the disk to write to (default: the temporary folder)")
    options = parser.parse_args()
    if "RANK" in os.environ:  # a process started below
        rank(options.parameters, options.rounds, options.folder)
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    # Any free port: a fixed one could still be in TIME_WAIT from the previous run.
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
