"""A step of a data stage: one pure function, called for each part of the data, wherever there is a free core.

A task reads files and writes files; its result, a small JSON object, is written last and by the task itself. So a step
is judged by the results it wrote and not by how the scheduler ended: a task whose result is there is never run again
(a killed stage continues), a task that was lost with its node is given to another, and as nothing but files passes from
step to step, the bytes are the same on one core, on all cores and on a cluster.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptoss.config.cluster import ClusterConfig, load_cluster
from gptoss.core import errors
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, PipelineError, from_os_error
from gptoss.core.progress import progress

Arguments = Mapping[str, Any]
"""Keyword arguments of a task: what JSON can hold."""
Result = dict[str, Any]

LITTLE_WORK = 32 * 2**20
"""Bytes: what one core does in about the time in which a worker process starts."""
LITTLE_WORK_FOR_THREADS = 2**20
MAX_FRUITLESS_ROUNDS = 3
"""How often in a row a scheduler may end without a single further task being done."""


def run_tasks(
    step: str,
    function: Callable[..., Result],
    tasks: Sequence[Arguments],
    folder: Path,
    *,
    cluster: ClusterConfig | None = None,
    work: int | None = None,
    threads: bool = False,
) -> list[Result]:
    """Call `function(**task)` for each task and return the results in the order of the tasks. `work` says how many
    bytes the step reads, where that is known: little work is not worth starting processes. `threads` says that the
    function spends its time in kernels that release Python's lock, so that on one machine threads do instead.

    `function` is importable by name, a function of its arguments alone, and writes its files atomically. Results are
    kept in `folder/STEP/`, which belongs to exactly these inputs (a stage's `run.state`). Raises the `PipelineError`
    of the first task that failed (the others run to their end and are kept) and `ClusterError` when nothing gets done.
    """
    where = cluster or load_cluster()
    results = folder / step
    results.mkdir(parents=True, exist_ok=True)
    fruitless = 0
    while pending := [number for number, task in enumerate(tasks) if _result(results, number, task) is None]:
        if fruitless == MAX_FRUITLESS_ROUNDS:
            raise ClusterError(
                f"{step}: {len(pending)} of {len(tasks)} tasks could not be run in {fruitless} attempts",
                "look at the scheduler's messages above: a lost node or too little memory; the same command continues",
            )
        calls = [call(function, tasks[number], results, number) for number in pending]
        done = 0
        failures: list[tuple[int, dict[str, str]]] = []
        shown = progress(
            _finished(calls, where, work, threads), f"{step.replace('_', ' ')}", total=len(calls), unit="tasks"
        )
        for number, failure in shown:
            done += 1
            if failure:
                failures.append((number, failure))
        if failures:
            raise revived(*min(failures, key=lambda found: found[0])[1:])
        fruitless = 0 if done else fruitless + 1
    return [_result(results, number, task) or {} for number, task in enumerate(tasks)]


def _finished(
    calls: Sequence[str], cluster: ClusterConfig, work: int | None, threads: bool
) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and failure (empty: none) of each task as it ends. Ends early when the scheduler breaks down."""
    little = work is not None and work < (LITTLE_WORK_FOR_THREADS if threads else LITTLE_WORK)
    if cluster.data == "native" and (little or min(len(calls), cluster.data_workers) == 1):
        answers: Iterable[str] = map(perform, calls)
    else:
        from gptoss.executor.scheduler import scheduled

        answers = scheduled(calls, cluster, threads=threads)
    for answer in answers:
        said = json.loads(answer)
        yield said["number"], said["failure"]


def call(function: Callable[..., Result], arguments: Arguments, results: Path, number: int) -> str:
    """A task as text: what travels to another process or machine."""
    return json.dumps(
        {
            "module": function.__module__,
            "name": function.__qualname__,
            "arguments": arguments,
            "result": str(_path(results, number)),
            "identity": _identity(arguments),
            "number": number,
        }
    )


def perform(task: str) -> str:
    """Run one task and write its result; returns its number and how it failed, if it did."""
    said = json.loads(task)
    failure: dict[str, str] = {}
    try:
        module = sys.modules.get(said["module"]) or __import__(said["module"], fromlist=[said["name"]])
        result = getattr(module, said["name"])(**said["arguments"])
        write_json(Path(said["result"]), {"identity": said["identity"], "result": result})
    except PipelineError as error:
        failure = {"kind": type(error).__name__, "problem": error.problem, "fix": error.fix}
    except OSError as error:
        known = from_os_error(error)
        failure = {"kind": type(known).__name__, "problem": known.problem, "fix": known.fix} if known else _bug()
    except Exception:
        failure = _bug()
    return json.dumps({"number": said["number"], "failure": failure})


def revived(failure: dict[str, str]) -> Exception:
    """The error of a task, raised where the stage can report it."""
    if failure["kind"] == "bug":
        return RuntimeError(f"a task failed:\n{failure['problem']}")
    error: PipelineError = getattr(errors, failure["kind"])(failure["problem"], failure["fix"])
    return error


def _bug() -> dict[str, str]:
    return {"kind": "bug", "problem": traceback.format_exc(), "fix": ""}


def _path(results: Path, number: int) -> Path:
    return results / f"{number:06d}.json"


def _identity(arguments: Arguments) -> str:
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()


def _result(results: Path, number: int, arguments: Arguments) -> Result | None:
    """The result of a task that was done with the same arguments."""
    path = _path(results, number)
    if not path.exists():
        return None
    said = read_json(path)
    return dict(said["result"]) if said["identity"] == _identity(arguments) else None
