"""Run one rank: `python -m gptoss.launch.worker`, started by our torchrun agent or by srun.

It initialises the process group, trains, and reports when it fails or stops. Ranks that our launcher starts read the
run configuration from the file named in the environment; those that another launcher starts (`gptoss.launch.external`)
receive it from rank 0.
"""

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
from gptoss.core.errors import ClusterError, Preempted
from gptoss.core.process import die_with_parent
from gptoss.core.progress import print_status
from gptoss.core.signals import StopRequest, stop_request
from gptoss.launch import failures, slurm
from gptoss.launch.environment import RUN_CONFIG_ENV, STOPPED_ENV, restart_count
from gptoss.train.run_config import RunConfig

# The last processes of a killed run need a few seconds to end, more when they are writing a checkpoint.
LOCK_SECONDS = 60


@dataclass
class Worker:
    rank: int
    run_config: RunConfig | None
    """None on a rank that another launcher started, until rank 0 has broadcast it."""


def main() -> int:
    """Run this rank to its end and return its exit code; on an error, exit with the code of that error.

    A rank that stopped on request returns 0 where its launcher learns of it in another way (rank 0's report, or the
    file that the torchrun agent of its node looks for), and 75 under a foreign launcher.
    """
    slurm.set_rank_environment()
    file = os.environ.get(RUN_CONFIG_ENV)
    if file:
        die_with_parent(signal.SIGKILL)
    own = RunConfig.read(Path(file)) if file else None
    # torchrun restarts the ranks after any failure; one caused by the configuration or the data would only repeat.
    if own and restart_count() and failures.is_permanent(own.state):
        return 1
    worker = Worker(int(os.environ["RANK"]), own)
    try:
        # A second request: the process may be inside a collective, which an exception would leave half done.
        with stop_request(on_second_request=lambda: os._exit(128 + signal.SIGTERM)) as stop:
            run(worker, stop)
    except Preempted as error:
        if own and worker.rank == 0:
            failures.report(own.state, failures.from_exception(error, worker.rank))
        if not own and STOPPED_ENV in os.environ:
            Path(os.environ[STOPPED_ENV]).touch()
        return 0 if own or STOPPED_ENV in os.environ else error.exit_code
    except BaseException as error:  # torch.distributed.checkpoint's CheckpointException is not an Exception
        report_and_exit(worker, error)
    return 0


def report_and_exit(worker: Worker, error: BaseException) -> None:
    """Write the failure report and end this process."""
    failure = failures.from_exception(error, worker.rank)
    with contextlib.suppress(OSError):  # the disk may be full
        print_status(f"rank {worker.rank}: {failure.problem}\n{failure.trace}")
        if worker.run_config:
            failures.report(worker.run_config.state, failure)
    # Not sys.exit: destroying the process group waits for collectives that the other ranks wait in as well.
    os._exit(failure.exit_code)


def run(worker: Worker, stop: StopRequest) -> None:
    """Train; a rank that another launcher started first receives the run configuration from rank 0."""
    from gptoss.launch.watchdog import Watchdog  # these import torch, which takes longer than reading a bad config
    from gptoss.train.loop import train
    from gptoss.train.parallel_context import init_parallel_context

    cluster = worker.run_config.cluster if worker.run_config else load_cluster()
    with init_parallel_context(cluster) as parallel:
        # Only rank 0 of an external launch has a run configuration; where all have one they are equal.
        run_config: RunConfig = parallel.broadcast_object(worker.run_config)
        worker.run_config = run_config
        with exclusive(run_config.state, worker.rank):
            watchdog = Watchdog(run_config.cluster.watchdog_seconds, run_config.state, worker.rank)
            restart = restart_info(run_config.state, parallel.world_size) if worker.rank == 0 else {}
            train(run_config, parallel, stop, watchdog, restart)


def restart_info(state: Path, world_size: int) -> dict[str, Any]:
    """Number of restarts and the reason for the last one; deletes the reports it is taken from."""
    if not restart_count():
        return {"restarts": 0}
    reason = failures.restart_reason(state, world_size)
    # All ranks are back (the broadcast has succeeded), so a later failure must not be explained by these reports.
    failures.clear(state)
    return {"restarts": restart_count(), "restarted_because": reason}


@contextmanager
def exclusive(state: Path, rank: int) -> Iterator[None]:
    """Rank 0 holds a lock on the state folder, so that two runs never write the same checkpoints. It waits for the
    lock up to `LOCK_SECONDS`, then raises `ClusterError`."""
    if rank != 0:
        yield
        return
    with open(state / "lock", "w") as lock:
        for waited in range(LOCK_SECONDS + 1):
            try:
                # flock, not a lock file: the kernel releases it however the process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited == LOCK_SECONDS:
                    raise ClusterError(
                        f"another run is training in {state}", "wait for it, or stop it, then run the same command"
                    ) from None
                time.sleep(1)
        yield


if __name__ == "__main__":
    sys.exit(main())
