"""What sharding costs: the first steps once more, by one process with the threads of all ranks, after training.

`python -m gptoss.train.one_process PLAN.json` prints the seconds of a step; nothing that it trains is kept.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from gptoss.config.cluster import MeshConfig, PipelineConfig
from gptoss.core import process
from gptoss.core.errors import ClusterError
from gptoss.launch.launcher import environment
from gptoss.train.metrics_log import Row
from gptoss.train.run_config import RunConfig

WARM_UP = 2
"""Steps that fill memory and do not count."""
START_SECONDS = 30.0
"""What importing and opening the shards may take."""


def sharding_cost(plan: RunConfig, measured: list[Row]) -> dict[str, float]:
    """`tokens_per_second_of_one_process`, and as `sharding_cost` the part of that speed that the ranks did not reach in
    as many steps at their end. Nothing where the cluster file asks for no comparison or has one rank, nor where one
    process cannot train this model, or is so slow that other programs must be using its processors."""
    steps = plan.cluster.one_process_steps
    if not steps or plan.cluster.mesh.size == 1:
        return {}
    sharded = statistics.median(row["seconds"] for row in [row for row in measured if "learning_rate" in row][-steps:])
    try:
        alone = seconds_a_step(on_one_process(plan), START_SECONDS + 2 * (WARM_UP + steps) * sharded)
    except ClusterError as error:
        print(f"pretrain: what sharding cost is not known: {error.problem}", file=sys.stderr, flush=True)
        return {}
    tokens = plan.settings.pretrain.batch_tokens
    print(
        f"pretrain: {tokens / sharded:,.0f} tokens/s by all ranks, {tokens / alone:,.0f} by one process",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    return {"tokens_per_second_of_one_process": tokens / alone, "sharding_cost": 1 - alone / sharded}


def seconds_a_step(plan: RunConfig, limit: float) -> float:
    """Median over the steps, in a process of its own. Raises `ClusterError` when it fails or takes `limit` seconds."""
    file = plan.state / "one-process.json"
    plan.write(file)
    rank = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    command = [sys.executable, "-m", "gptoss.train.one_process", str(file)]
    try:
        done = subprocess.run(command, env=environment(plan) | rank, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"one process did not take its steps within {limit:.0f} s, as if other programs used the processors",
            "train on a machine without other work",
        ) from None
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ClusterError(f"one process failed ({reason})", "see the message")
    return float(done.stdout.split()[-1])


def on_one_process(plan: RunConfig) -> RunConfig:
    """The same run without a mesh, with all threads of this node."""
    changes = {
        "nodes": 1, "processes_per_node": 1, "mesh": MeshConfig(pp=1, dp_replicate=1, dp_shard=1, tp=1),
        "threads_per_process": plan.cluster.processes_per_node * plan.cluster.threads_per_process,
        "pipeline": PipelineConfig(),
    }  # fmt: skip
    return plan.model_copy(update={"cluster": plan.cluster.model_copy(update=changes)})


def main(plan_file: str) -> None:
    """Take the steps and print the median of their seconds."""
    from gptoss.train.parallel_context import init_parallel_context
    from gptoss.train.step import Trainer

    process.die_with_parent(signal.SIGKILL)
    plan = RunConfig.read(Path(plan_file))
    seconds = []
    with init_parallel_context(plan.cluster) as ranks:
        trainer = Trainer(plan, ranks)
        for step in range(1, WARM_UP + plan.cluster.one_process_steps + 1):
            began = time.monotonic()
            trainer.step(step)
            seconds.append(time.monotonic() - began)
        trainer.batches.close()
    print(statistics.median(seconds[WARM_UP:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
