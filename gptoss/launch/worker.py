"""What one rank does: join the mesh, learn the plan, train, and leave a note when it fails or stops."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.config.cluster import load_cluster
from gptoss.core import process
from gptoss.core.errors import ClusterError, Preempted
from gptoss.core.signals import StopRequest, stop_request
from gptoss.launch import failures
from gptoss.train.run_config import PLAN, RESTARTS, STOPPED, RunConfig

PATIENCE_SECONDS = 60


def main() -> int:
    """Run this rank to its end: 0, or the exit code of its error (1 for a bug) with a note in `state/failures`.

    Stopped on request: 0 where our launcher reads the note or our agent finds the mark, 75 where a stranger started
    the rank.
    """
    if os.environ.get(PLAN):
        process.die_with_parent(signal.SIGKILL)
    rank = int(os.environ["RANK"])
    given = RunConfig.read(Path(os.environ[PLAN])) if os.environ.get(PLAN) else None
    if given and restarts() and failures.hopeless(given.state):
        return 1
    member = Member(rank, given)
    try:
        with stop_request(insist=lambda: os._exit(128 + signal.SIGTERM)) as stop:
            run(member, stop)
    except Preempted as error:
        if given and rank == 0:
            failures.report(given.state, failures.of(error, rank))
        if not given and STOPPED in os.environ:
            Path(os.environ[STOPPED]).touch()
        return 0 if given or STOPPED in os.environ else error.exit_code
    except BaseException as error:  # torch.distributed.checkpoint's error is no Exception
        failure = failures.of(error, rank)
        with contextlib.suppress(OSError):  # the disk may be full
            print(f"rank {rank}: {failure.problem}\n{failure.trace}", file=sys.stderr, flush=True)
            if member.plan:
                failures.report(member.plan.state, failure)
        os._exit(failure.exit_code)  # a rank that others wait for cannot leave in good order
    return 0


@dataclass
class Member:
    """A rank and what it knows."""

    rank: int
    plan: RunConfig | None
    """None on a rank that another launcher started, until rank 0 has told it."""


def run(member: Member, stop: StopRequest) -> None:
    """Train by the plan; a rank that another launcher started without one gets it from rank 0."""
    from gptoss.train.loop import train
    from gptoss.train.parallel_context import init_parallel_context

    with init_parallel_context(member.plan.cluster if member.plan else load_cluster()) as ranks:
        agreed: RunConfig = ranks.broadcast(member.plan)
        member.plan = agreed
        with alone(agreed.state, member.rank):
            train(agreed, ranks, stop, restarted(agreed.state, ranks.size) if member.rank == 0 else {})


def restarts() -> int:
    """How often torchrun, or the Slurm job, has started the ranks again."""
    return int(os.environ.get(RESTARTS, "0"))


def restarted(state: Path, size: int) -> dict[str, Any]:
    """How often, and because of what the ranks said when they failed, which is forgotten now that all are back."""
    if not restarts():
        return {"restarts": 0}
    reason = failures.restart_reason(state, size)
    failures.clear(state)
    return {"restarts": restarts(), "restarted_because": reason}


@contextmanager
def alone(state: Path, rank: int) -> Iterator[None]:
    """Rank 0 holds a lock on the state folder, so that two runs never write the same checkpoints. A killed run's
    last processes get a minute to end."""
    if rank != 0:
        yield
        return
    with open(state / "lock", "w") as lock:
        for waited in range(PATIENCE_SECONDS + 1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited == PATIENCE_SECONDS:
                    raise ClusterError(
                        f"another run is training in {state}", "wait for it, or stop it, then run the same command"
                    ) from None
                time.sleep(1)
        yield
