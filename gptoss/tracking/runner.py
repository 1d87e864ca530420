"""The command line of every stage: `python -m stages.NAME [KEY]`.

A stage is a function `(settings, run[, key]) -> metrics`. The runner reads the settings, opens the MLflow run, calls
the function, writes its metrics for DVC, and prints known errors as one message.
"""

from __future__ import annotations

import inspect
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gptoss.code_identity.stages import fixed_identity
from gptoss.config.settings import Settings, load_settings
from gptoss.core import memory, paths
from gptoss.core.atomic_files import write_json
from gptoss.core.errors import UserError
from gptoss.core.process import command_parser, die_with_parent, run_and_exit, set_quiet_env
from gptoss.tracking import mlflow_run, provenance

Metrics = Mapping[str, Any]


def run_stage(
    function: Callable[..., Metrics], name: str, keys: Callable[[Settings], Iterable[str]] | None = None
) -> None:
    """Run a stage from the command line and exit with 0 (done), 2 (wrong request), 3 (damaged data), 4 (failure of the
    machine or network) or 75 (stopped on request). `keys`: the valid keys of a stage that DVC runs once per key."""
    module = inspect.getmodule(function)
    parser = command_parser(f"stages.{name}", module.__doc__ if module else None)
    if keys:
        parser.add_argument("key", help="which one, as in `dvc stage list`: NAME@KEY")
    arguments = parser.parse_args()
    # The flow ignores SIGTERM on behalf of DVC and its shell, and ignored signals are inherited.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if "DVC_STAGE" in os.environ:  # started by DVC, not by a person's shell, which may close before the stage ends
        die_with_parent(signal.SIGTERM)
    set_quiet_env()
    run_and_exit(lambda: execute(function, name, keys, getattr(arguments, "key", None)))


def execute(
    function: Callable[..., Metrics], name: str, keys: Callable[[Settings], Iterable[str]] | None, key: str | None
) -> None:
    """Run a stage: settings, provenance, MLflow run, the function, its metrics file, removal of its resume state."""
    settings = load_settings()
    if keys and key not in (known := sorted(keys(settings))):
        raise UserError(f"stages.{name} knows no {key!r}", f"choose one of: {', '.join(known)}")
    stage = f"{name}@{key}" if key else name
    # Refreshed first: code that was edited since `dvc repro` looked must not continue the state of the old code.
    with (
        fixed_identity(stage),
        mlflow_run.stage_run(stage, f"gpt-oss-{settings.name}", provenance.current(stage)) as run,
    ):
        metrics = function(settings, run, key) if key else function(settings, run)
        if metrics:
            write_json(paths.metrics(stage), metrics)
            run.log_metrics({k: v for k, v in flatten(metrics).items() if isinstance(v, int | float)})
        # The peak of the largest single process: for children the kernel reports only the largest, so a sum is not
        # available.
        children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        run.log_metrics({"peak_memory_bytes": max(memory.peak_memory(), children)})
    # Only after the run is closed: a kill before this line repeats the end of the stage from its state.
    shutil.rmtree(run.state, ignore_errors=True)


def flatten(values: Metrics, prefix: str = "") -> dict[str, Any]:
    """Nested metrics as one level, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
