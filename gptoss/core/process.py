"""Processes: quiet environment, exit codes of known errors, and children that end with their parent."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from gptoss.core.errors import PipelineError, Preempted, from_os_error

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

PARENT = "GPTOSS_PRETRAIN_PARENT"
"""Environment: process id of the launcher, to notice that it was gone before the lifeline was tied."""

PR_SET_PDEATHSIG = 1


def die_with_parent(sign: signal.Signals, parent: int | None = None) -> None:
    """Ask the kernel to send `sign` to this process when its parent dies (Linux; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), sign)


def run_and_exit(call: Callable[[], None]) -> NoReturn:
    """Run `call` and end this process with its exit code (`guarded`), once all exit handlers have run, but without
    tearing the interpreter down: the threads of a native library (Daft has some) cannot be stopped, and one that still
    asks for Python's lock would abort the process (PyO3/pyo3-async-runtimes#40), a finished stage with it."""
    code = 1  # of an unforeseen error, after its traceback

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)  # the first that is registered is the last that runs
    code = exit_code_of(call)
    sys.exit(code)


def set_quiet_env() -> None:
    """Apply `QUIET` where the environment does not say otherwise."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)


def exit_code_of(call: Callable[[], None]) -> int:
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
