"""Tasks for the tests of the engine: importable by name, as tasks are."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import DataError


def square(number: int, folder: str) -> dict[str, Any]:
    """Write a file that says which process ran, and how often."""
    with open(Path(folder) / f"{number}.ran", "a") as stream:
        stream.write(f"{os.getpid()}\n")
    return {"square": number * number}


def slow_square(number: int, folder: str, seconds: float) -> dict[str, Any]:
    """The same, and a result file, slowly."""
    time.sleep(seconds)
    with atomic_file(Path(folder) / f"{number}.txt") as partial:
        partial.write_text(f"{number * number}\n")
    return square(number, folder)


def fail_on_three(number: int, folder: str) -> dict[str, Any]:
    """What a task does that meets bad data."""
    if number == 3:
        raise DataError("part 3 is damaged", "fetch it again")
    return square(number, folder)


def stumble(number: int, folder: str) -> dict[str, Any]:
    """A bug."""
    raise KeyError(number)


def die_once(number: int, folder: str) -> dict[str, Any]:
    """The process is killed the first time it meets task 2, as by the kernel when memory runs out."""
    mark = Path(folder) / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, folder)
