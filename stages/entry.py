"""The thin command line of every stage: `python -m stages.NAME [KEY]`.

A stage is a function `(settings, run[, key]) -> metrics`. This module reads the settings, opens the MLflow
run, calls the function, writes its metrics for DVC, and turns known errors into one clear message.
"""

from __future__ import annotations

import argparse
import atexit
import inspect
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from stages import lifeline, memory, paths
from stages.errors import PipelineError, Preempted, UserError, from_os_error
from stages.settings import Settings, load_settings
from stages.storage import write_json

Metrics = Mapping[str, Any]

QUIET = {
    "DO_NOT_TRACK": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the outbox tries again by itself
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "warning",
}
"""No telemetry, and no network unless a source says so (`benchmarks` lifts the hub's switch itself)."""


def run_stage(
    function: Callable[..., Metrics], name: str, keys: Callable[[Settings], Iterable[str]] | None = None
) -> None:
    """Run a stage from the command line and exit: 0 done, 2 the request, 3 the data, 4 the machine is at
    fault, 75 stopped on request."""
    module = inspect.getmodule(function)
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
        description=module.__doc__ if module else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if keys:
        parser.add_argument("key", help="which one, as in `dvc stage list`: NAME@KEY")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the flow lets DVC and the shell ignore it
    if "DVC_STAGE" in os.environ:  # started by DVC, not by a person's shell that may close before the stage ends
        lifeline.tie(signal.SIGTERM)
    quieten()
    leave_after(lambda: execute(function, name, keys, getattr(arguments, "key", None)))


def leave_after(call: Callable[[], None]) -> NoReturn:
    """Run `call` and end this process with its exit code (`guarded`), once all exit handlers have run, but without
    tearing the interpreter down: the threads of a native library (Daft has some) cannot be stopped, and one that still
    asks for Python's lock would abort the process (PyO3/pyo3-async-runtimes#40), a finished stage with it."""
    code = 1  # of an unforeseen error, after its traceback

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)  # the first that is registered is the last that runs
    code = guarded(call)
    sys.exit(code)


def quieten() -> None:
    """Apply `QUIET` where the environment does not say otherwise."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)


def guarded(call: Callable[[], None]) -> int:
    """Run `call`; print a known error as one message and return its exit code."""
    try:
        call()
    except Preempted as stop:
        print(f"{stop.problem}; {stop.fix}", file=sys.stderr)
        return stop.exit_code
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        known = from_os_error(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return known.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


def execute(
    function: Callable[..., Metrics], name: str, keys: Callable[[Settings], Iterable[str]] | None, key: str | None
) -> None:
    """Settings, provenance, MLflow run, the stage itself, its metrics file, clean-up of its resume state."""
    from stages import provenance, tracking

    settings = load_settings()
    if keys and key not in (known := sorted(keys(settings))):
        raise UserError(f"stages.{name} knows no {key!r}", f"choose one of: {', '.join(known)}")
    stage = f"{name}@{key}" if key else name
    dependencies = provenance.current(stage)
    with tracking.stage_run(stage, f"gpt-oss-{settings.name}", dependencies) as run:
        metrics = function(settings, run, key) if key else function(settings, run)
        if metrics:
            write_json(paths.metrics(stage), metrics)
            run.metrics({k: v for k, v in flatten(metrics).items() if isinstance(v, int | float)})
        run.metrics({"peak_memory_bytes": peak_memory()})
    shutil.rmtree(run.state, ignore_errors=True)


def peak_memory() -> float:
    """Bytes of the largest process so far, of this one and its children."""
    return float(max(memory.peak_memory(), 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))


def flatten(values: Metrics, prefix: str = "") -> dict[str, Any]:
    """Nested metrics with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
