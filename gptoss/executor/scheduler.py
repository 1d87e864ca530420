"""Daft hands the tasks to processes or threads of this machine (native runner) or of a Ray cluster (Ray runner).

Daft schedules and no more: each row of its frame is one task, computed by an actor in a process or thread of its own,
and what the tasks make is in files. A runner that ends early (a lost node, a killed worker) therefore loses nothing but
the tasks in flight; `tasks.py` asks again for what is missing.

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
from typing import TYPE_CHECKING, Any

import daft

from gptoss.config.cluster import ClusterConfig
from gptoss.core import process
from gptoss.core.errors import ClusterError, UserError
from gptoss.core.process import QUIET, set_quiet_env
from gptoss.executor.tasks import perform

if TYPE_CHECKING:
    from daft import DataFrame

CODE = Path(__file__).resolve().parents[2]
"""Where the `stages` package lies: workers import the code from here and work in the stage's working directory."""
MAX_PARTITIONS = 1_000


def scheduled(calls: Sequence[str], cluster: ClusterConfig, *, threads: bool = False) -> Iterator[str]:
    """The answers of the tasks as they end; fewer than tasks when the runner broke down, which is said on stderr.
    Raises `ClusterError` when there is no Ray cluster at the address, `UserError` when Ray is not installed."""
    set_quiet_env()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    os.environ["DAFT_RUNNER"] = cluster.data  # else Daft imports Ray, for half a second, to see whether it runs
    workers = min(len(calls), cluster.data_workers)
    if cluster.data == "ray":
        workers = min(workers, connect(cluster.address))
    frame = daft.from_pydict({"task": list(calls)})
    if cluster.data == "ray":
        frame = frame.into_partitions(min(len(calls), MAX_PARTITIONS))
    try:
        yield from _answers(frame, workers, processes=cluster.data == "ray" or not threads)
    except Exception as error:  # Daft raises its own, Ray's and Arrow's errors alike
        print(f"the {cluster.data} runner broke down, what was done is kept: {_first_line(error)}", file=sys.stderr)


def _answers(frame: DataFrame, workers: int, *, processes: bool) -> Iterator[str]:
    performer = _processes(workers) if processes else _perform_in_threads
    for row in frame.select(performer(daft.col("task")).alias("answer")).iter_rows():
        yield row["answer"]


def _processes(workers: int) -> Any:
    actor: Any = daft.cls(Worker, use_process=True, max_concurrency=workers)
    return actor(str(Path.cwd()), os.getpid()).perform


class Worker:
    """Performs tasks in the working directory of the stage; on its machine it ends with the stage."""

    def __init__(self, folder: str, stage: int) -> None:
        set_quiet_env()
        os.chdir(folder)
        if os.getppid() == stage:
            process.die_with_parent(signal.SIGKILL, stage)

    @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=1)  # type: ignore[untyped-decorator]
    def perform(self, tasks: daft.Series) -> list[str]:
        """The answers of a batch of tasks."""
        return [perform(task) for task in tasks.to_pylist()]


@daft.func.batch(return_dtype=daft.DataType.string(), use_process=False, batch_size=1)  # type: ignore[untyped-decorator]
def _perform_in_threads(tasks: daft.Series) -> list[str]:
    """The same, in one of the runner's threads, of which there is one a core."""
    return [perform(task) for task in tasks.to_pylist()]


def connect(address: str) -> int:
    """Join the Ray cluster, once in the life of this process; returns its cores."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "this cluster file says `data: ray`, but Ray is not installed",
            "install what `requirements.lock` names (`make` does), or choose a cluster file with `data: native`",
        ) from None
    if not ray.is_initialized():
        environment = {**QUIET, "PYTHONPATH": os.environ["PYTHONPATH"]}
        try:
            _knock(address)
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


def _knock(address: str) -> None:
    """Raises `OSError` when nobody answers there: Ray itself would end this process, without a Python exception."""
    host, found, port = address.rpartition(":")
    if found:
        socket.create_connection((host, int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
