"""Run one pure function over many parts of the data, on every free core of a machine or of a Ray cluster.

A task reads files and writes files. Its result, a small JSON object, is written last and by the task itself, so
progress is judged by the results on disk and not by how the scheduler ended:

- a task whose result exists is never run again, so a stage that was killed continues;
- a task that was lost with its node is scheduled again;
- only files pass from one task to the next, so the output bytes are the same on one core, on all cores and on a
  cluster. This package therefore decides no byte of a result.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gptoss.config.cluster import ClusterConfig, load_cluster
from gptoss.core import errors
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, PipelineError, from_os_error
from gptoss.core.progress import progress

# Keyword arguments of a task: JSON values.
Arguments = Mapping[str, Any]
Result = dict[str, Any]
# `kind` (name of the error class, or "bug"), `problem` and `fix`; empty when the task succeeded.
Failure = dict[str, str]

# Input of fewer bytes is processed in this process: one core needs about as long for it as a worker needs to start.
MIN_BYTES_FOR_PROCESSES = 32 * 2**20
# The same for threads. They start fast, but importing Daft, which hands out the tasks, takes time too.
MIN_BYTES_FOR_THREADS = 2**20
# How often in succession the scheduler may end without having completed a single task.
MAX_ROUNDS_WITHOUT_PROGRESS = 3


def run_tasks(
    name: str,
    function: Callable[..., Result],
    tasks: Sequence[Arguments],
    state: Path,
    *,
    cluster: ClusterConfig | None = None,
    input_bytes: int | None = None,
    releases_gil: bool = False,
) -> list[Result]:
    """Call `function(**task)` for each task and return the results in the order of the tasks.

    `function` is importable by name, depends on its arguments only, and writes its files atomically. Results are stored
    in `state/NAME/`; `state` (a stage's `run.state`) belongs to exactly these inputs. `input_bytes` is how much the
    tasks read, if known: little work is not worth starting workers. `releases_gil` states that the function spends its
    time in code that releases the GIL, so that on one machine threads replace processes.

    Errors: the `PipelineError` of the first task that failed (the others run to completion, and their results are
    kept); `RuntimeError` with the traceback for a bug in a task; `ClusterError` when the scheduler makes no progress.
    """
    cluster = cluster or load_cluster()
    results = state / name
    results.mkdir(parents=True, exist_ok=True)
    rounds_without_progress = 0
    # A loop, as a scheduler that loses a node or a worker ends early: what is missing then is scheduled again.
    while pending := [number for number, task in enumerate(tasks) if _read_result(results, number, task) is None]:
        if rounds_without_progress == MAX_ROUNDS_WITHOUT_PROGRESS:
            raise ClusterError(
                f"{name}: {len(pending)} of {len(tasks)} tasks could not be run in {rounds_without_progress} attempts",
                "read the scheduler's messages above (a lost node, or too little memory), then run the same command: "
                "it continues",
            )
        encoded_tasks = [encode_task(function, tasks[number], results, number) for number in pending]
        outcomes = _run_encoded_tasks(encoded_tasks, cluster, input_bytes, releases_gil)
        ended = list(progress(outcomes, name.replace("_", " "), total=len(encoded_tasks), unit="tasks"))
        # The first in the order of the tasks, not of time, so that the same bad input always reports the same error.
        if failures := sorted((number, failure) for number, failure in ended if failure):
            raise rebuild_error(failures[0][1])
        rounds_without_progress = 0 if ended else rounds_without_progress + 1
    return [_read_result(results, number, task) or {} for number, task in enumerate(tasks)]


def _run_encoded_tasks(
    encoded_tasks: Sequence[str], cluster: ClusterConfig, input_bytes: int | None, releases_gil: bool
) -> Iterator[tuple[int, Failure]]:
    """Number and failure of each task as it ends. Ends early when the scheduler breaks down."""
    enough = MIN_BYTES_FOR_THREADS if releases_gil else MIN_BYTES_FOR_PROCESSES
    little_work = input_bytes is not None and input_bytes < enough
    if cluster.data == "native" and (little_work or min(len(encoded_tasks), cluster.data_workers) == 1):
        outcomes: Iterable[str] = map(run_encoded_task, encoded_tasks)
    else:
        # Imported here, as importing Daft takes longer than the whole of a small step.
        from gptoss.executor.scheduler import schedule

        outcomes = schedule(encoded_tasks, cluster, threads=releases_gil)
    for outcome in map(json.loads, outcomes):
        yield outcome["number"], outcome["failure"]


def encode_task(function: Callable[..., Result], arguments: Arguments, results: Path, number: int) -> str:
    """A task as JSON, to be sent to another process or machine."""
    return json.dumps(
        {
            "module": function.__module__,
            "name": function.__qualname__,
            "arguments": arguments,
            "result": str(_result_path(results, number)),
            "identity": _identity(arguments),
            "number": number,
        }
    )


def run_encoded_task(encoded: str) -> str:
    """Run one encoded task and write its result. Returns its number and its failure, as JSON.

    Failures are returned and not raised: a scheduler would wrap the exception, and end the other tasks.
    """
    task = json.loads(encoded)
    failure: Failure = {}
    try:
        result = getattr(import_module(task["module"]), task["name"])(**task["arguments"])
        write_json(Path(task["result"]), {"identity": task["identity"], "result": result})
    except PipelineError as error:
        failure = _known_failure(error)
    except Exception as error:
        known = from_os_error(error) if isinstance(error, OSError) else None
        failure = _known_failure(known) if known else {"kind": "bug", "problem": traceback.format_exc(), "fix": ""}
    return json.dumps({"number": task["number"], "failure": failure})


def _known_failure(error: PipelineError) -> Failure:
    return {"kind": type(error).__name__, "problem": error.problem, "fix": error.fix}


def rebuild_error(failure: Failure) -> Exception:
    """The exception of a failed task, to be raised in the process of the stage."""
    if failure["kind"] == "bug":
        return RuntimeError(f"a task failed:\n{failure['problem']}")
    error: PipelineError = getattr(errors, failure["kind"])(failure["problem"], failure["fix"])
    return error


def _result_path(results: Path, number: int) -> Path:
    return results / f"{number:06d}.json"


def _identity(arguments: Arguments) -> str:
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()


def _read_result(results: Path, number: int, arguments: Arguments) -> Result | None:
    """The result of a completed task; None when it is missing or belongs to other arguments.

    Arguments are compared, as between two attempts the tasks of a step can change (other ranges, a changed input).
    """
    path = _result_path(results, number)
    if not path.exists():
        return None
    stored = read_json(path)
    return dict(stored["result"]) if stored["identity"] == _identity(arguments) else None
