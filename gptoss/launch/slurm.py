"""Training as a Slurm job: options for sbatch, the job as the stage follows it, and the rank of a task of srun.

With `launcher: slurm` the stage submits `infra/slurm/pretrain.sbatch` from a login node and follows the job through
preemptions until it ends. When the stage dies the job goes on, and the same command finds it again; when the stage is
asked to stop it stops the job. Inside an allocation of the right size (`salloc`, or the script submitted by hand) the
stage starts the ranks there.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import gptoss
from gptoss.config.cluster import ClusterConfig, cluster_name
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, UserError
from gptoss.core.progress import print_status
from gptoss.train.run_config import RunConfig

SCRIPT = Path(gptoss.__file__).resolve().parent.parent / "infra" / "slurm" / "pretrain.sbatch"
WORKER = [sys.executable, "-u", "-m", "gptoss.launch.worker"]
JOB_MODULE = "gptoss.launch.slurm_batch"
PYTHON = "GPTOSS_PYTHON"
"""Environment variable of the job: the interpreter of the stage that submitted it."""
# slurmctld serves all users of the cluster; its documentation asks not to query it in tight loops.
POLL_SECONDS = 5.0
# Final states of a job. A requeued one is PENDING, REQUEUED or COMPLETING.
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip


def options(cluster: ClusterConfig) -> list[str]:
    """Options for sbatch and salloc: size of the job, signal before the time limit, GPUs, and the slurm section of the
    cluster file."""
    # Without the prefix B: the signal goes to the ranks, not to the batch shell.
    chosen = [*job_size(cluster), f"--signal=TERM@{math.ceil(cluster.grace_seconds)}"]
    if cluster.device == "cuda":
        # Per node, not per task: a rank uses the GPU with the number of its LOCAL_RANK, so every task must see all GPUs
        # of its node; --gpus-per-task would show it a single one.
        chosen.append(f"--gres=gpu:{cluster.processes_per_node}")
    if cluster.slurm:
        named = {key: getattr(cluster.slurm, key) for key in ("partition", "account", "qos", "time")}
        chosen += [f"--{key}={value}" for key, value in named.items() if value]
        chosen += cluster.slurm.options
    return chosen


def job_size(cluster: ClusterConfig) -> list[str]:
    """One task per rank, with its threads."""
    return [
        f"--nodes={cluster.nodes}",
        f"--ntasks-per-node={cluster.processes_per_node}",
        f"--cpus-per-task={cluster.threads_per_process}",
    ]


def srun(cluster: ClusterConfig, name: str) -> list[str]:
    """The command that starts all ranks in this allocation; when one fails, Slurm ends the others."""
    # Without --kill-on-bad-exit the other ranks would wait for the lost one until their collectives time out. --label
    # prefixes each line of the log with its rank; --job-name names the step (see `Step.terminate`).
    return ["srun", *job_size(cluster), f"--job-name={name}", "--kill-on-bad-exit=1", "--label", *WORKER]


def needs_job(cluster: ClusterConfig) -> bool:
    """True when this process must submit a job because it is in no allocation of as many nodes."""
    # By the number of nodes, because `make run` on a GPU node for the later stages (`srun --pty`) is in an allocation
    # too, but of one node.
    allocated = os.environ.get("SLURM_JOB_NUM_NODES") if "SLURM_JOB_ID" in os.environ else None
    return cluster.launcher == "slurm" and allocated != str(cluster.nodes)


def set_rank_environment() -> None:
    """In a task of srun, set the variables that torch.distributed reads, unless another launcher has set them."""
    if "RANK" not in os.environ and {"SLURM_STEP_ID", "SLURM_PROCID"} <= os.environ.keys():
        os.environ.update(rank_environment(os.environ))


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT of a task of srun. Rank 0 is on the first node of the
    step."""
    return {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_address(environment["SLURM_STEP_NODELIST"]),
        # All tasks must derive the same port without talking to each other, and two jobs on one node need different
        # ones: the job number modulo a range below Linux's ephemeral ports (32768 and up).
        "MASTER_PORT": environment.get("MASTER_PORT") or str(20_000 + int(environment["SLURM_JOB_ID"]) % 10_000),
    }


def first_address(nodes: str) -> str:
    """Network address of the first node of a list such as `gpu[03-10]`."""
    first = _slurm("scontrol", "show", "hostnames", nodes).split()[0]
    return _fields(_slurm("scontrol", "--oneliner", "show", "node", first))["NodeAddr"]


class Step(subprocess.Popen[bytes]):
    """The ranks, started by srun in the allocation that this process is in."""

    def __init__(self, run_config: RunConfig, environment: Mapping[str, str], log: IO[str]) -> None:
        self._name = run_config.attempt
        command = srun(run_config.cluster, self._name)
        # A session of its own: srun would take Ctrl-C on the terminal as an order to kill the ranks.
        super().__init__(command, env=dict(environment), stdout=log, stderr=log, start_new_session=True)

    def terminate(self) -> None:
        """Send SIGTERM to the ranks, not to srun, which would kill them. The step is found by its name, which is unique
        to the attempt; srun does not tell its number."""
        for line in _slurm("squeue", "--steps", "--noheader", "--format=%i %j").splitlines():
            number, _, name = line.strip().partition(" ")
            if name == self._name:
                _try_slurm("scancel", "--signal=TERM", number)


@dataclass
class Job:
    """A submitted job, with the part of `subprocess.Popen`'s interface that the launcher uses."""

    number: str
    attempt: str
    """`RunConfig.attempt` of the run."""
    returncode: int | None = None
    _last_state: str = ""
    _polled_at: float = -math.inf

    def poll(self) -> int | None:
        """Exit code of the job, or None while it waits, runs or is requeued."""
        # The launcher polls several times per second; the controller is asked only every POLL_SECONDS.
        if self.returncode is not None or time.monotonic() - self._polled_at < POLL_SECONDS:
            return self.returncode
        self._polled_at = time.monotonic()
        try:
            fields = _fields(_slurm("scontrol", "--oneliner", "show", "job", self.number))
        except ClusterError as error:
            # An unreachable controller says nothing about the job, which goes on; a forgotten number has ended long
            # ago (MinJobAge, five minutes by default).
            if "Invalid job id" not in error.problem:
                self._print_state(f"unreachable ({error.problem})")
                return None
            fields = {"JobState": "CANCELLED", "ExitCode": "1:0"}
        state, reason = fields["JobState"], fields.get("Reason", "None")
        self._print_state(f"{state} ({reason})" if state == "PENDING" else state)
        if state in ENDED:
            code, number = (int(part) for part in fields["ExitCode"].split(":"))
            # As shells do: 128 + signal. A job that was cancelled before it started has 0:0 and still failed.
            self.returncode = code or (128 + number if number else int(state != "COMPLETED"))
        return self.returncode

    def terminate(self) -> None:
        """Let the ranks save and end, and the job with them; a pending job leaves the queue."""
        # First, because the batch script requeues the job when the ranks have stopped on request.
        _try_slurm("scontrol", "update", f"JobId={self.number}", "Requeue=0")
        _try_slurm("scancel", "--state=PENDING", self.number)
        _try_slurm("scancel", "--state=RUNNING", "--signal=TERM", self.number)

    def send_signal(self, number: int) -> None:
        """The launcher sends only the signal to end."""
        self.kill()

    def kill(self) -> None:
        """Cancel the job."""
        _try_slurm("scancel", self.number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout if timeout is not None else math.inf
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"Slurm job {self.number}", timeout or 0.0)
            time.sleep(POLL_SECONDS / 10)
        return code

    def _print_state(self, state: str) -> None:
        if state != self._last_state:
            print_status(f"pretrain: Slurm job {self.number} is {state}")
        self._last_state = state


def submit(run_config: RunConfig, environment: Mapping[str, str], log: Path) -> Job:
    """Submit the job of a run. Raises `UserError` without sbatch on this machine, `ClusterError` when Slurm refuses."""
    # --parsable prints NUMBER or NUMBER;CLUSTER.
    number = _slurm(
        "sbatch", "--parsable", f"--output={log}", *options(run_config.cluster), str(SCRIPT), JOB_MODULE,
        environment={**environment, PYTHON: sys.executable},
    ).split(";")[0].strip()  # fmt: skip
    # Written at once: a stage that is killed later must find its job again instead of submitting a second one.
    write_json(_job_file(run_config.state), {"job": number, "attempt": run_config.attempt})
    return Job(number, run_config.attempt)


def unfinished_job(state: Path) -> Job | None:
    """The job that an earlier start of this run submitted, if it has not ended."""
    if not _job_file(state).exists():
        return None
    record = read_json(_job_file(state))
    job = Job(record["job"], record["attempt"])
    return job if job.poll() is None else None


def _job_file(state: Path) -> Path:
    return state / "slurm.json"


def _try_slurm(*command: str) -> None:
    """Run a command and only print its failure: the job may have ended meanwhile."""
    try:
        _slurm(*command)
    except ClusterError as error:
        print_status(f"pretrain: {error.problem}")


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
            f"fix the slurm section of infra/clusters/{cluster_name()}.yaml, or check with `sinfo` whether Slurm is up",
        )
    return done.stdout


def _fields(line: str) -> dict[str, str]:
    """`Key=value` pairs of scontrol's one-line output."""
    return dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
