"""Start the ranks, follow what rank 0 measures, and end them: the parent's side of a training run.

Ranks never import MLflow: rank 0 appends rows to a file, the parent reads them, shows a line and logs them, so an
unreachable MLflow cannot stop training. The ranks' own output goes to `state/ranks.log`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import gptoss
from gptoss.config.cluster import ClusterConfig, load_cluster
from gptoss.core import process
from gptoss.core.errors import Preempted, UserError
from gptoss.core.signals import StopRequest, stop_request
from gptoss.launch import failures, slurm
from gptoss.launch.monitor import Observer
from gptoss.tracking.mlflow_run import StageRun
from gptoss.train.run_config import PLAN, RunConfig

POLL_SECONDS = 0.2
END_SECONDS = 10.0
RANK = [sys.executable, "-u", "-m", "stages.pretrain"]
AGENT = [sys.executable, "-m", "gptoss.launch.torchrun_agent"]
PLACE = ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")


class Ranks(Protocol):
    """What runs the ranks, as far as this module uses it: a process here, or a job of a cluster."""

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def send_signal(self, number: int) -> None: ...
    def kill(self) -> None: ...


def launch(plan: RunConfig, run: StageRun) -> None:
    """Run the plan to its end. Raises the error of the rank that failed first, or `Preempted` after SIGTERM or Ctrl-C,
    when the ranks have finished their step and saved. A second request ends them at once."""
    log = plan.state / "ranks.log"
    job = slurm.unfinished(plan.state) if slurm.submits(plan.cluster) else None
    if job:
        plan = plan.model_copy(update={"attempt": job.attempt})
        print(f"pretrain: following Slurm job {job.number}, which was submitted before", file=sys.stderr, flush=True)
    observer = Observer(plan, run)
    with stop_request(insist=interrupt) as stop:
        process: Ranks = job or start(plan, log)
        try:
            code = follow(plan, observer, process, stop)
        finally:
            end(process)
    stopped = failures.stopped(plan.state)
    if stopped:
        raise stopped
    if code:
        error = failures.explain(plan.state, log, "from the last checkpoint", plan.cluster.mesh.size)
        for unfinished in (plan.state / "checkpoints").glob("*.partial"):
            shutil.rmtree(unfinished, ignore_errors=True)
        raise error


def start(plan: RunConfig, log: Path) -> Ranks:
    """Start all ranks that are ours to start, their output in `log`."""
    plan.state.mkdir(parents=True, exist_ok=True)
    failures.clear(plan.state)
    plan.write(plan.state / "plan.json")
    mesh = plan.cluster.mesh
    layout = f"pp {mesh.pp} x dp {mesh.dp} x tp {mesh.tp}, {plan.precision} on {plan.cluster.device}"
    print(f"pretrain: starting {mesh.size} ranks ({layout})", file=sys.stderr, flush=True)
    with open(log, "w") as output:
        if slurm.submits(plan.cluster):
            return slurm.submit(plan, environment(plan), log)
        if plan.cluster.launcher == "slurm":
            return slurm.Step(plan, environment(plan), output)
        return subprocess.Popen(command(plan), env=environment(plan), stdout=output, stderr=output)


def command(plan: RunConfig) -> list[str]:
    """torchrun on this node, or this very rank when another launcher has started us as rank 0."""
    if "RANK" in os.environ:
        return RANK
    if plan.cluster.launcher == "external":
        raise UserError(
            "the cluster file says launcher: external, but RANK is not set",
            "start `python -m stages.pretrain` on every rank with srun or torchrun, or set launcher: torchrun",
        )
    place = ["--standalone", "--local-addr=127.0.0.1", f"--max-restarts={plan.cluster.restarts}"]
    return [*AGENT, *place, *ranks_of_a_node(plan.cluster)]


def become_agent() -> None:
    """Turn this process into the torchrun of its node, where the cluster file says torchrun on several nodes and this
    was started once on each of them; rank 0 then is the stage. Returns in every other case. Raises `UserError` when
    the node's place is not in the environment; the names are torchrun's own."""
    cluster = load_cluster()
    if "RANK" in os.environ or cluster.launcher != "torchrun" or cluster.nodes == 1:
        return
    missing = [name for name in PLACE if name not in os.environ]
    if missing:
        raise UserError(
            f"launcher: torchrun with nodes({cluster.nodes}) > 1 needs {', '.join(missing)} in the environment",
            "start `python -m stages.pretrain` once on every node with PET_NODE_RANK=0, 1, … and the address and a "
            "free port of node 0 in PET_MASTER_ADDR and PET_MASTER_PORT, or set launcher: slurm",
        )
    os.execv(sys.executable, node_command(cluster))


def node_command(cluster: ClusterConfig) -> list[str]:
    """torchrun on one node of several. It restarts nothing, since one of its ranks is the stage, whose exit code must
    reach the scheduler: that one starts all nodes again."""
    return [*AGENT, f"--nnodes={cluster.nodes}", *ranks_of_a_node(cluster)]


def ranks_of_a_node(cluster: ClusterConfig) -> list[str]:
    """What torchrun starts."""
    return [f"--nproc-per-node={cluster.processes_per_node}", "--no-python", *RANK]


def environment(plan: RunConfig) -> dict[str, str]:
    """The ranks' environment: threads, the plan, and where to find this code."""
    root = str(Path(gptoss.__file__).resolve().parent.parent)
    values = {
        **os.environ,
        PLAN: str((plan.state / "plan.json").resolve()),
        process.PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": str(plan.cluster.threads_per_process),
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    if plan.cluster.nodes == 1 and plan.cluster.device == "cpu" and sys.platform.startswith("linux"):
        values.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return values


def follow(plan: RunConfig, observer: Observer, process: Ranks, stop: StopRequest) -> int:
    """Show and log the rows until the ranks have ended; returns their exit code. Passes on a request to stop."""
    asked: float | None = None
    while True:
        code = process.poll()
        if stop.requested and asked is None and code is None:
            if not observer.ready and not failures.any_told(plan.state):  # torchrun also stops us when a rank fails
                raise Preempted("stopped on request before the first step", "the same command continues")
            asked = time.monotonic()
            process.terminate()
            print("pretrain: stopping after this step, saving (once more: stop at once)", file=sys.stderr, flush=True)
        if asked is not None and time.monotonic() - asked > plan.cluster.grace_seconds:
            raise Preempted(
                f"stopped on request; the ranks did not save within grace_seconds({plan.cluster.grace_seconds:g})",
                "the same command continues from the last checkpoint",
            )
        observer.look()
        if code is not None:
            observer.close()
            return code
        time.sleep(POLL_SECONDS)


def interrupt() -> None:
    """Leave `follow` at once."""
    raise KeyboardInterrupt


def end(process: Ranks) -> None:
    """End the launcher with its ranks, which are tied to it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
