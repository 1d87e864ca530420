"""Start the ranks of a training run, follow what rank 0 measures, and end them: the parent's side of pretraining.

Ranks never import MLflow: rank 0 appends rows to a file, and the parent reads them, shows a progress line and logs
them. So an unreachable MLflow server cannot stop training. The output of all ranks goes to `state/ranks.log`.
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

from gptoss.config.cluster import ClusterConfig
from gptoss.core.errors import Preempted, UserError
from gptoss.core.progress import print_status
from gptoss.core.signals import StopRequest, stop_request
from gptoss.launch import failures, slurm
from gptoss.launch.environment import config_file, worker_environment
from gptoss.launch.monitor import Monitor
from gptoss.tracking.mlflow_run import StageRun
from gptoss.train.run_config import RunConfig

# One `stat` of the rows file and one `waitpid` per poll; short enough for the progress line to feel live.
POLL_SECONDS = 0.2
# After SIGQUIT, torchrun gives its ranks 5 s (SHUTDOWN_SECONDS of torchrun_agent) and then kills them.
END_SECONDS = 10.0
TORCHRUN = [sys.executable, "-m", "gptoss.launch.torchrun_agent"]


class RankProcesses(Protocol):
    """What runs the ranks: a local process or a Slurm job. The part of `subprocess.Popen` that this module uses."""

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def send_signal(self, number: int) -> None: ...
    def kill(self) -> None: ...


def launch(run_config: RunConfig, run: StageRun) -> None:
    """Train on all ranks until the last step.

    Errors: the error of the rank that failed first; `Preempted` after SIGTERM or Ctrl-C, once the ranks have finished
    their step and saved. A second request ends them immediately.
    """
    check_started_correctly(run_config.cluster)
    log = run_config.state / "ranks.log"
    job = slurm.unfinished_job(run_config.state) if slurm.needs_job(run_config.cluster) else None
    if job:
        run_config = run_config.model_copy(update={"attempt": job.attempt})
        print_status(f"pretrain: following Slurm job {job.number}, which was submitted before")
    # The attempt is that of the job, because rank 0 writes it into the rows that the monitor follows.
    monitor = Monitor(run_config, run)
    with stop_request(on_second_request=interrupt) as stop:
        ranks: RankProcesses = job or start(run_config, log)
        try:
            code = follow(run_config, monitor, ranks, stop)
        finally:
            end(ranks)
    # Checked before the exit code: torchrun and srun do not pass on a rank's 75, and may end with 0 or 1.
    if preempted := failures.preemption(run_config.state):
        raise preempted
    if code:
        error = failures.explain(run_config.state, log, run_config.cluster.mesh.size)
        # An unfinished save is useless, and may be what filled the disk.
        for unfinished in (run_config.state / "checkpoints").glob("*.partial"):
            shutil.rmtree(unfinished, ignore_errors=True)
        raise error


def check_started_correctly(cluster: ClusterConfig) -> None:
    """Raise `UserError` with the right command when this process cannot start the ranks that the cluster file asks
    for. `gptoss.launch.external` sets RANK=0 for the stage that it starts."""
    rank = os.environ.get("RANK")
    if rank not in (None, "0"):
        raise UserError(
            f"RANK is {rank}: another launcher started the stage on every rank",
            "start `python -m gptoss.launch.external` on every rank; it runs the stage on rank 0",
        )
    if cluster.launcher == "external" and rank is None:
        raise UserError(
            "the cluster file says launcher: external, but RANK is not set",
            "start `python -m gptoss.launch.external` on every rank with srun or torchrun, or set launcher: torchrun",
        )
    if cluster.launcher == "torchrun" and cluster.nodes > 1 and rank is None:
        raise UserError(
            f"launcher: torchrun with nodes({cluster.nodes}) > 1: the stage can only start the ranks of its own node",
            "start `python -m gptoss.launch.node` once on every node, or set launcher: slurm",
        )


def start(run_config: RunConfig, log: Path) -> RankProcesses:
    """Start the ranks with their output in `log`: all of them, or rank 0 alone where another launcher starts the
    others."""
    run_config.state.mkdir(parents=True, exist_ok=True)
    failures.clear(run_config.state)
    run_config.write(config_file(run_config.state))
    # The ranks read this copy, so editing params.yaml or the cluster file does not affect a run in progress.
    mesh, environment = run_config.cluster.mesh, worker_environment(run_config)
    layout = f"pp {mesh.pp} x dp {mesh.dp} x tp {mesh.tp}, {run_config.precision} on {run_config.cluster.device}"
    print_status(f"pretrain: starting {mesh.size} ranks ({layout})")
    with open(log, "w") as output:
        if slurm.needs_job(run_config.cluster):
            return slurm.submit(run_config, environment, log)
        if run_config.cluster.launcher == "slurm":
            return slurm.Step(run_config, environment, output)
        return subprocess.Popen(command(run_config.cluster), env=environment, stdout=output, stderr=output)


def command(cluster: ClusterConfig) -> list[str]:
    """torchrun for all ranks of this node, or rank 0 alone when another launcher started this process as rank 0."""
    if "RANK" in os.environ:
        return slurm.WORKER
    # --standalone picks a free port itself; the address is explicit because the host name may not resolve.
    options = ["--standalone", "--local-addr=127.0.0.1", f"--max-restarts={cluster.restarts}"]
    return [*TORCHRUN, *options, f"--nproc-per-node={cluster.processes_per_node}", "--no-python", *slurm.WORKER]


def follow(run_config: RunConfig, monitor: Monitor, ranks: RankProcesses, stop: StopRequest) -> int:
    """Show and log rows until the ranks have ended, and forward a stop request to them. Returns their exit code."""
    requested_at: float | None = None
    grace = run_config.cluster.grace_seconds
    while True:
        code = ranks.poll()
        if stop.requested and requested_at is None and code is None:
            # Before the first step there is nothing to save. A rank that has reported is the exception: torchrun on
            # several nodes sends SIGTERM to rank 0 when another rank fails, and that rank's report must be shown.
            if not monitor.training_started and not failures.any_rank_reported(run_config.state):
                raise Preempted("stopped on request before the first step", "the same command continues")
            requested_at = time.monotonic()
            ranks.terminate()
            print_status("pretrain: stopping after this step, then saving (a second request stops immediately)")
        # A rank that hangs never saves; a scheduler would kill this process too, without saying why.
        if requested_at is not None and time.monotonic() - requested_at > grace:
            raise Preempted(
                f"stopped on request; the ranks did not save within grace_seconds({grace:g})",
                "the same command continues from the last checkpoint",
            )
        # After `poll`, so that the rows written just before the end are read too.
        monitor.update()
        if code is not None:
            monitor.progress.close()
            return code
        time.sleep(POLL_SECONDS)


def interrupt() -> None:
    """Leave `follow` immediately."""
    raise KeyboardInterrupt


def end(ranks: RankProcesses) -> None:
    """End the launcher of the ranks; the kernel ends the ranks with it (`die_with_parent`)."""
    if ranks.poll() is not None:
        return
    # SIGTERM would only ask them to save; SIGQUIT is what torchrun_agent handles as an order to end.
    ranks.send_signal(signal.SIGQUIT)
    try:
        ranks.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        ranks.kill()
        ranks.wait()
