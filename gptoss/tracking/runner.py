"""The thin command line of every stage: `python -m stages.NAME [KEY]`.

A stage is a function `(settings, run[, key]) -> metrics`. This module reads the settings, opens the MLflow
run, calls the function, writes its metrics for DVC, and turns known errors into one clear message.
"""

from __future__ import annotations

import argparse
import inspect
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gptoss.code_identity.stages import write_identities
from gptoss.config.settings import Settings, load_settings
from gptoss.core import memory, paths, process
from gptoss.core.atomic_files import write_json
from gptoss.core.errors import UserError
from gptoss.core.process import run_and_exit, set_quiet_env

Metrics = Mapping[str, Any]


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
        process.die_with_parent(signal.SIGTERM)
    set_quiet_env()
    run_and_exit(lambda: execute(function, name, keys, getattr(arguments, "key", None)))


def execute(
    function: Callable[..., Metrics], name: str, keys: Callable[[Settings], Iterable[str]] | None, key: str | None
) -> None:
    """Settings, provenance, MLflow run, the stage itself, its metrics file, clean-up of its resume state."""
    from gptoss.tracking import mlflow_run, provenance

    settings = load_settings()
    if keys and key not in (known := sorted(keys(settings))):
        raise UserError(f"stages.{name} knows no {key!r}", f"choose one of: {', '.join(known)}")
    stage = f"{name}@{key}" if key else name
    write_identities()  # code that was edited since `dvc repro` looked must not continue the state of the old code
    dependencies = provenance.current(stage)
    with mlflow_run.stage_run(stage, f"gpt-oss-{settings.name}", dependencies) as run:
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
