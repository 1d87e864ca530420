"""Tasks for the tests of the executor, importable by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import DataError


def square(number: int, folder: str) -> dict[str, Any]:
    """Append the process id to a file, so that tests see which processes ran the task, and how often."""
    with open(Path(folder) / f"{number}.ran", "a") as stream:
        stream.write(f"{os.getpid()}\n")
    return {"square": number * number}


def slow_square(number: int, folder: str, seconds: float) -> dict[str, Any]:
    """The same after some seconds, and with an output file."""
    time.sleep(seconds)
    with atomic_file(Path(folder) / f"{number}.txt") as partial:
        partial.write_text(f"{number * number}\n")
    return square(number, folder)


def fail_on_three(number: int, folder: str) -> dict[str, Any]:
    """Fail as a task does on bad data."""
    if number == 3:
        raise DataError("part 3 is damaged", "fetch it again")
    return square(number, folder)


def raise_key_error(number: int, folder: str) -> dict[str, Any]:
    """Fail as a task with a bug does."""
    raise KeyError(number)


def die_once(number: int, folder: str) -> dict[str, Any]:
    """Kill the process in the first attempt of task 2, as the kernel does when memory runs out."""
    marker = Path(folder) / "died"
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, folder)
