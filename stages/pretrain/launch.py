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

import stages
from stages import lifeline
from stages.errors import Preempted, UserError
from stages.pretrain import failures
from stages.pretrain.plan import PLAN, Plan
from stages.pretrain.rows import Row, RowReader
from stages.pretrain.stop import StopRequest, stop_request
from stages.progress import SECONDS_BETWEEN_LINES
from stages.tracking import StageRun

POLL_SECONDS = 0.2
END_SECONDS = 10.0
CURVES = ("loss", "learning_rate", "gradient_norm", "loss_scale", "skipped")


def launch(plan: Plan, run: StageRun) -> None:
    """Run the plan to its end. Raises the error of the rank that failed first, or `Preempted` after SIGTERM or Ctrl-C,
    when the ranks have finished their step and saved. A second request ends them at once."""
    plan.state.mkdir(parents=True, exist_ok=True)
    failures.clear(plan.state)
    plan.write(plan.state / "plan.json")
    log = plan.state / "ranks.log"
    mesh = plan.cluster.mesh
    layout = f"pp {mesh.pp} x dp {mesh.dp} x tp {mesh.tp}, {plan.precision} on {plan.cluster.device}"
    print(f"pretrain: starting {mesh.size} ranks ({layout})", file=sys.stderr, flush=True)
    reader = RowReader(plan.state, plan.attempt)
    with stop_request(insist=interrupt) as stop, open(log, "w") as output:
        process = subprocess.Popen(command(plan), env=environment(plan), stdout=output, stderr=output)
        try:
            code = follow(plan, run, process, reader, stop)
        finally:
            end(process)
    stopped = failures.stopped(plan.state)
    if stopped:
        raise stopped
    if code:
        error = failures.explain(plan.state, log, "from the last checkpoint")
        for unfinished in (plan.state / "checkpoints").glob("*.partial"):
            shutil.rmtree(unfinished, ignore_errors=True)
        raise error


def command(plan: Plan) -> list[str]:
    """torchrun on this node, or this very rank when another launcher has started us as rank 0."""
    cluster = plan.cluster
    rank = [sys.executable, "-u", "-m", "stages.pretrain"]
    if cluster.launcher == "external":
        if "RANK" not in os.environ:
            raise UserError(
                "the cluster file says launcher: external, but RANK is not set",
                "start `python -m stages.pretrain` on every rank with srun or torchrun, or set launcher: torchrun",
            )
        return rank
    if cluster.nodes > 1:
        raise UserError(
            f"launcher: torchrun starts ranks on this node alone, but the cluster file says nodes: {cluster.nodes}",
            "set launcher: external and start the ranks with srun or a job controller",
        )
    agent = [sys.executable, "-m", "stages.pretrain.agent"]
    place = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={cluster.processes_per_node}"]
    return [*agent, *place, "--no-python", *rank]


def environment(plan: Plan) -> dict[str, str]:
    """The ranks' environment: threads, the plan, and where to find this code."""
    root = str(Path(stages.__file__).resolve().parent.parent)
    values = {
        **os.environ,
        PLAN: str((plan.state / "plan.json").resolve()),
        lifeline.PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": str(plan.cluster.threads_per_process),
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    if plan.cluster.nodes == 1 and plan.cluster.device == "cpu" and sys.platform.startswith("linux"):
        values.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return values


def follow(plan: Plan, run: StageRun, process: subprocess.Popen[bytes], reader: RowReader, stop: StopRequest) -> int:
    """Show and log the rows until the ranks have ended; returns their exit code. Passes on a request to stop."""
    line = ProgressLine(plan)
    asked: float | None = None
    while True:
        code = process.poll()
        if stop.requested and asked is None:
            if reader.resumed is None:
                raise Preempted("stopped on request before the first step", "the same command continues")
            asked = time.monotonic()
            process.terminate()
            print("pretrain: stopping after this step, saving (once more: stop at once)", file=sys.stderr, flush=True)
        if asked is not None and time.monotonic() - asked > plan.cluster.grace_seconds:
            raise Preempted(
                f"stopped on request; the ranks did not save within grace_seconds({plan.cluster.grace_seconds:g})",
                "the same command continues from the last checkpoint",
            )
        announced = reader.resumed is not None
        for row in reader.new():
            line.show(row)
            log_row(plan, run, row)
        if not announced and reader.resumed:
            print(f"pretrain: resumed after step {reader.resumed}", file=sys.stderr, flush=True)
        if code is not None:
            line.close()
            return code
        time.sleep(POLL_SECONDS)


def log_row(plan: Plan, run: StageRun, row: Row) -> None:
    """Send a row to MLflow: every validation, and each `log_every_steps`-th step."""
    if "validation_loss" in row:
        values = {"validation_loss": row["validation_loss"], "bits_per_byte": row["bits_per_byte"]}
    elif row["step"] % plan.cluster.log_every_steps == 0:
        speed = plan.settings.pretrain.batch_tokens / row["seconds"]
        values = {key: row[key] for key in CURVES} | {"tokens_per_second": speed, "memory_mib": row["memory_mib"]}
    else:
        return
    run.metrics({key: value for key, value in values.items() if value is not None}, step=row["step"])


class ProgressLine:
    """Step, loss, speed and remaining time: rewritten in place on a terminal, a line every few seconds elsewhere."""

    def __init__(self, plan: Plan) -> None:
        self.steps, self.batch_tokens = plan.settings.pretrain.steps, plan.settings.pretrain.batch_tokens
        self.live = sys.stderr.isatty()
        self.shown = time.monotonic()
        self.seconds = 0.0
        self.count = 0
        self.validation = ""

    def show(self, row: Row) -> None:
        """Take in a row; print when it is time to."""
        if "validation_loss" in row:
            self.validation = f", validation {row['bits_per_byte'] or float('nan'):.3f} bits/byte"
            return
        self.seconds += row["seconds"]
        self.count += 1
        now = time.monotonic()
        last = row["step"] == self.steps
        if not last and now - self.shown < (0.5 if self.live else SECONDS_BETWEEN_LINES):
            return
        self.shown = now
        each = self.seconds / self.count
        left = round((self.steps - row["step"]) * each)
        text = (
            f"pretrain: step {row['step']}/{self.steps}, loss {row['loss'] or float('nan'):.3f}{self.validation}, "
            f"{self.batch_tokens / each:,.0f} tokens/s, {left // 60}:{left % 60:02d} left"
        )
        print(f"\r{text}\033[K" if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self.live and self.count:
            print(file=sys.stderr)


def interrupt() -> None:
    """Leave `follow` at once."""
    raise KeyboardInterrupt


def end(process: subprocess.Popen[bytes]) -> None:
    """End the launcher with its ranks, which are tied to it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
