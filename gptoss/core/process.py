"""Processes: quiet environment, exit codes of known errors, and children that end with their parent."""

from __future__ import annotations

import argparse
import atexit
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from gptoss.core.errors import PipelineError, Preempted, from_os_error
from gptoss.core.progress import print_status

# No telemetry, and no network unless a source says so (the stage `benchmarks` lifts the hub's switch itself).
QUIET = {
    "DO_NOT_TRACK": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the outbox retries by itself, with a longer backoff
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",  # its thread pool deadlocks in forked children, and warns about that
    "TRANSFORMERS_VERBOSITY": "warning",
}

# From <linux/prctl.h>; Python has no binding for prctl(2).
PR_SET_PDEATHSIG = 1
# Shells report a process that Ctrl-C ended as 128 + SIGINT.
INTERRUPTED = 130


def set_quiet_env() -> None:
    """Apply `QUIET` to variables that are not set."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)


def command_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Parser for `python -m MODULE`; the description, a module docstring, is printed as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def die_with_parent(sign: signal.Signals, parent: int | None = None) -> None:
    """Ask the kernel to send `sign` to this process when its parent dies. Linux only; elsewhere it does nothing.

    `parent`: the expected parent's process id. If that process has already died, `sign` is sent immediately.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
    # The kernel only signals deaths after the call. An orphan has been given another parent by then.
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), sign)


def run_and_exit(call: Callable[[], None]) -> NoReturn:
    """Run `call` and end this process with its exit code (`exit_code_of`), after all exit handlers but without
    finalising the interpreter.

    Threads of native libraries (Daft starts some) cannot be stopped. One that asks for the GIL during finalisation
    aborts the process, although the stage has finished (PyO3/pyo3-async-runtimes#40).
    """
    code = 1  # of an unexpected error, after its traceback

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    # Exit handlers run in reverse order of registration, so the one registered first runs last.
    atexit.register(leave)
    code = exit_code_of(call)
    sys.exit(code)


def exit_code_of(call: Callable[[], None]) -> int:
    """Run `call`; print a known error as one message, without traceback, and return its exit code."""
    try:
        call()
    except Preempted as stop:
        print_status(f"{stop.problem}; {stop.fix}")
        return stop.exit_code
    except (PipelineError, OSError) as error:
        known = from_os_error(error) if isinstance(error, OSError) else error
        if known is None:
            raise
        print_status(f"error: {known}")
        return known.exit_code
    except KeyboardInterrupt:
        print_status("interrupted; the same command continues")
        return INTERRUPTED
    return 0
