"""Distribute tasks over processes or threads of this machine, or over a Ray cluster, with Daft.

Daft only schedules. Each row of its frame is one task, run by an actor in a process or thread, and everything that
tasks produce is in files. Reasons: the work is compiled kernels over whole files, which expressions of a data frame
cannot express; results that pass through a data frame would depend on its partitioning; and a runner that ends early (a
lost node, a killed worker) loses the tasks in flight only, which `tasks.py` schedules again. What Daft provides is one
interface for its native runner and for Ray.

All machines of a Ray cluster see the checkout at the same path (a shared file system), as they do in pretraining.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import daft

from gptoss.config.cluster import ClusterConfig
from gptoss.core import process
from gptoss.core.errors import ClusterError, UserError
from gptoss.core.process import QUIET, set_quiet_env
from gptoss.executor.tasks import run_encoded_task

# Workers import the code from here, and work in the working directory of the stage.
REPOSITORY = Path(__file__).resolve().parents[2]
# Ray keeps a few objects per partition: with one partition per task, 100,000 tasks would burden the head node.
MAX_PARTITIONS = 1_000
CONNECT_TIMEOUT_SECONDS = 10


def schedule(encoded_tasks: Sequence[str], cluster: ClusterConfig, *, threads: bool = False) -> Iterator[str]:
    """The outcomes of the tasks as they end. Fewer than tasks when the runner breaks down, which is reported on stderr.

    Errors: `ClusterError` when no Ray cluster answers at the address, `UserError` when Ray is not installed.
    """
    set_quiet_env()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    # Without this, Daft imports Ray (half a second) to find out whether a cluster is running.
    os.environ["DAFT_RUNNER"] = cluster.data
    workers = min(len(encoded_tasks), cluster.data_workers)
    # Connect before the first frame exists: creating one starts a local Ray instance when none is connected.
    if cluster.data == "ray":
        workers = min(workers, connect(cluster.address))
    frame = daft.from_pydict({"task": list(encoded_tasks)})
    if cluster.data == "ray":
        # One task per partition where possible: Ray's unit of scheduling, and of what is lost with a node.
        frame = frame.into_partitions(min(len(encoded_tasks), MAX_PARTITIONS))
    runner = _run_in_threads if threads and cluster.data == "native" else _process_actor(workers)
    try:
        for row in frame.select(runner(daft.col("task")).alias("outcome")).iter_rows():
            yield row["outcome"]
    except Exception as error:  # any class: Daft raises its own errors, Ray's and Arrow's
        print(
            f"the {cluster.data} runner failed; completed tasks are kept: {_first_line(error)}",
            file=sys.stderr,
        )


def _process_actor(workers: int) -> Any:
    actor: Any = daft.cls(Worker, use_process=True, max_concurrency=workers)
    return actor(str(Path.cwd()), os.getpid()).run


class Worker:
    """Runs tasks in the working directory of the stage. On the machine of the stage it dies with the stage."""

    def __init__(self, folder: str, stage_pid: int) -> None:
        set_quiet_env()
        os.chdir(folder)
        # Daft's workers would survive a stage that is killed, and write into the state of its next attempt. Workers on
        # other nodes are children of Ray, which ends them with the job.
        if os.getppid() == stage_pid:
            process.die_with_parent(signal.SIGKILL, stage_pid)

    # batch_size=1: tasks take seconds to minutes, so an outcome must not wait for other tasks of a batch.
    @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=1)  # type: ignore[untyped-decorator]
    def run(self, encoded_tasks: daft.Series) -> list[str]:
        """The outcomes of a batch of tasks."""
        return [run_encoded_task(task) for task in encoded_tasks.to_pylist()]


@daft.func.batch(return_dtype=daft.DataType.string(), use_process=False, batch_size=1)  # type: ignore[untyped-decorator]
def _run_in_threads(encoded_tasks: daft.Series) -> list[str]:
    """The same in the threads of the native runner, which has one per core."""
    return [run_encoded_task(task) for task in encoded_tasks.to_pylist()]


def connect(address: str) -> int:
    """Connect to the Ray cluster, once per process. Returns its number of cores."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "this cluster file says `data: ray`, but Ray is not installed",
            "install the packages of `requirements.lock` (`make` does), or choose a cluster file with `data: native`",
        ) from None
    if not ray.is_initialized():
        environment = {**QUIET, "PYTHONPATH": os.environ["PYTHONPATH"]}
        try:
            _check_reachable(address)
            ray.init(
                address=address,
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"no Ray cluster at {address} ({_first_line(error)})",
                "start one with `ray start --head` here and `ray start --address=HOST:PORT` on the other machines, "
                "or correct `address` in the cluster file",
            ) from None
        daft.set_runner_ray()
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _check_reachable(address: str) -> None:
    """Raises `OSError` when nothing listens at HOST:PORT: `ray.init` would end this process without an exception."""
    host, separator, port = address.rpartition(":")
    if separator:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
