"""Training as a Slurm job: what Slurm is told, what a task of srun is, and the job as the stage sees it.

With `launcher: slurm` the stage submits `infra/slurm/pretrain.sbatch` from a login node and follows the job through
preemptions until it ends. A stage that dies leaves its job alone, and the same command finds it again; one that is
asked to stop stops the job. In an allocation of the right size (`salloc`, or the script submitted by hand) the stage
starts the ranks there. `python -m gptoss.launch.slurm` prints the options for sbatch and salloc.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import gptoss
from gptoss.config.cluster import ClusterConfig, cluster_name, load_cluster
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, Preempted, UserError
from gptoss.core.process import exit_code_of
from gptoss.launch import failures
from gptoss.train.run_config import PLAN, RESTARTS, RunConfig

SCRIPT = Path(gptoss.__file__).resolve().parent.parent / "infra" / "slurm" / "pretrain.sbatch"
PYTHON = "GPTOSS_PYTHON"
"""Environment of the job: the interpreter of the stage that submitted it."""
POLL_SECONDS = 5.0
"""Between two questions to the controller, which serves everybody."""
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip
"""States that a job does not leave. One that is put into the queue again is PENDING, REQUEUED or COMPLETING."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the options of the chosen cluster; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.launch.slurm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    return exit_code_of(lambda: print(" ".join(options(load_cluster()))))


def options(cluster: ClusterConfig) -> list[str]:
    """For sbatch: the shape of the job, the time to save in before the limit, a GPU for each task of a node, and the
    site's section of the file."""
    chosen = [*shape(cluster), f"--signal=TERM@{math.ceil(cluster.grace_seconds)}"]
    if cluster.device == "cuda":
        chosen.append(f"--gres=gpu:{cluster.processes_per_node}")  # of the node: every task sees all, and takes its own
    if cluster.slurm:
        named = {key: getattr(cluster.slurm, key) for key in ("partition", "account", "qos", "time")}
        chosen += [f"--{key}={value}" for key, value in named.items() if value]
        chosen += cluster.slurm.options
    return chosen


def shape(cluster: ClusterConfig) -> list[str]:
    """A task a rank, with its threads."""
    return [
        f"--nodes={cluster.nodes}",
        f"--ntasks-per-node={cluster.processes_per_node}",
        f"--cpus-per-task={cluster.threads_per_process}",
    ]


def srun(cluster: ClusterConfig, name: str) -> list[str]:
    """The command that starts all ranks in this allocation; one that fails ends the others."""
    rank = [sys.executable, "-u", "-m", "stages.pretrain"]
    return ["srun", *shape(cluster), f"--job-name={name}", "--kill-on-bad-exit=1", "--label", *rank]


def submits(cluster: ClusterConfig) -> bool:
    """Whether this process has to submit a job: it is in no allocation that could hold the ranks."""
    held = os.environ.get("SLURM_JOB_NUM_NODES") if "SLURM_JOB_ID" in os.environ else None
    return cluster.launcher == "slurm" and held != str(cluster.nodes)


def run_submitted() -> int:
    """In the batch script of a submitted job: run the ranks of its plan, again after one of them died, as often as the
    cluster file says; 75 when they stopped on request."""
    plan = RunConfig.read(Path(os.environ[PLAN]))
    failures.clear(plan.state)  # of an earlier go of the same job
    code = 0
    for restarts in range(plan.cluster.restarts + 1):
        environment = os.environ | {RESTARTS: str(restarts)}
        code = subprocess.run(srun(plan.cluster, plan.attempt), env=environment).returncode
        if failures.stopped(plan.state):
            return Preempted.exit_code
        if code == 0 or failures.hopeless(plan.state):
            break
    return code


def become_rank() -> None:
    """In a task of srun that is one of the mesh's ranks, set what torch.distributed reads, where nobody has."""
    if "RANK" not in os.environ and is_task(os.environ):
        os.environ.update(rank_environment(os.environ))


def is_task(environment: Mapping[str, str]) -> bool:
    """Whether srun started this process as a rank: by our plan, or as the cluster file's external launcher."""
    if "SLURM_STEP_ID" not in environment or "SLURM_PROCID" not in environment:
        return False
    if PLAN in environment:
        return True
    try:
        return load_cluster().launcher == "external"
    except UserError:
        return False  # the stage itself will say so


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Place of a task in the world. Rank 0 is on the step's first node, where the others meet it at a port that
    follows from the number of the job."""
    place = {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "MASTER_PORT": environment.get("MASTER_PORT") or str(20_000 + int(environment["SLURM_JOB_ID"]) % 10_000),
    }
    return place | {"MASTER_ADDR": environment.get("MASTER_ADDR") or first_address(environment["SLURM_STEP_NODELIST"])}


def first_address(nodes: str) -> str:
    """Network address of the first node of a list such as `gpu[03-10]`."""
    first = _slurm("scontrol", "show", "hostnames", nodes).split()[0]
    return _fields(_slurm("scontrol", "--oneliner", "show", "node", first))["NodeAddr"]


class Step(subprocess.Popen[bytes]):
    """The ranks, started by srun in the allocation that this process is in."""

    def __init__(self, plan: RunConfig, environment: Mapping[str, str], log: IO[str]) -> None:
        self._name = plan.attempt
        command = srun(plan.cluster, self._name)
        super().__init__(command, env=dict(environment), stdout=log, stderr=log, start_new_session=True)

    def terminate(self) -> None:
        """SIGTERM to the ranks; srun itself would take it as an order to kill them."""
        for line in _slurm("squeue", "--steps", "--noheader", "--format=%i %j").splitlines():
            number, _, name = line.strip().partition(" ")
            if name == self._name:
                _attempt("scancel", "--signal=TERM", number)


@dataclass
class Job:
    """A submitted job, with the part of `subprocess.Popen`'s interface that the launcher uses."""

    number: str
    attempt: str
    """Of the plan it runs."""
    returncode: int | None = None
    _said: str = ""
    _asked: float = -math.inf

    def poll(self) -> int | None:
        """Exit code of the job, or None while it waits, runs or is put into the queue again."""
        if self.returncode is not None or time.monotonic() - self._asked < POLL_SECONDS:
            return self.returncode
        self._asked = time.monotonic()
        try:
            fields = _fields(_slurm("scontrol", "--oneliner", "show", "job", self.number))
        except ClusterError as error:
            if "Invalid job id" not in error.problem:  # the controller is away: the job is not
                self._say(f"out of sight ({error.problem})")
                return None
            fields = {"JobState": "CANCELLED", "ExitCode": "1:0"}
        state, reason = fields["JobState"], fields.get("Reason", "None")
        self._say(f"{state} ({reason})" if state == "PENDING" else state)
        if state in ENDED:
            code, sign = (int(part) for part in fields["ExitCode"].split(":"))
            self.returncode = code or (128 + sign if sign else int(state != "COMPLETED"))
        return self.returncode

    def terminate(self) -> None:
        """Let the ranks save and end, and the job with them; one that has not started leaves the queue."""
        _attempt("scontrol", "update", f"JobId={self.number}", "Requeue=0")
        _attempt("scancel", "--state=PENDING", self.number)
        _attempt("scancel", "--state=RUNNING", "--signal=TERM", self.number)

    def send_signal(self, number: int) -> None:
        """The one signal that is sent is an order to end."""
        self.kill()

    def kill(self) -> None:
        """End it now."""
        _attempt("scancel", self.number)

    def wait(self, timeout: float | None = None) -> int:
        """Exit code; raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout if timeout is not None else math.inf
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"Slurm job {self.number}", timeout or 0.0)
            time.sleep(POLL_SECONDS / 10)
        return code

    def _say(self, state: str) -> None:
        if state != self._said:
            print(f"pretrain: Slurm job {self.number} is {state}", file=sys.stderr, flush=True)
        self._said = state


def submit(plan: RunConfig, environment: Mapping[str, str], log: Path) -> Job:
    """Put the plan's job into the queue. Raises `UserError` without an sbatch here, `ClusterError` when it refuses."""
    number = _slurm(
        "sbatch", "--parsable", f"--output={log}", *options(plan.cluster), str(SCRIPT),
        environment={**environment, PYTHON: sys.executable},
    ).split(";")[0].strip()  # fmt: skip
    write_json(_record(plan.state), {"job": number, "attempt": plan.attempt})
    return Job(number, plan.attempt)


def unfinished(state: Path) -> Job | None:
    """The job of an earlier start of this run, where it is still in the queue or training."""
    if not _record(state).exists():
        return None
    record = read_json(_record(state))
    job = Job(record["job"], record["attempt"])
    return job if job.poll() is None else None


def _record(state: Path) -> Path:
    return state / "slurm.json"


def _attempt(*command: str) -> None:
    """Run a command whose failure changes nothing, and say when it fails."""
    try:
        _slurm(*command)
    except ClusterError as error:
        print(f"pretrain: {error.problem}", file=sys.stderr, flush=True)


def _slurm(*command: str, environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise UserError(
            f"the cluster file says launcher: slurm, but there is no `{command[0]}` here",
            "run this on a login node of the cluster, or choose another cluster with GPTOSS_CLUSTER",
        ) from None
    if done.returncode:
        raise ClusterError(
            f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}",
            f"mend the slurm section of infra/clusters/{cluster_name()}.yaml, or see with `sinfo` whether Slurm is up",
        )
    return done.stdout


def _fields(line: str) -> dict[str, str]:
    """`Key=value` pairs of scontrol's one-line output."""
    return dict(pair.split("=", 1) for pair in line.split() if "=" in pair)


if __name__ == "__main__":
    sys.exit(main())
