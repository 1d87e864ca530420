"""Results of the finished steps of an evaluation, kept on disk so that a killed one continues after the last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import read_json, write_json


class StepCache:
    """Caches results in `state` as `NAME.json`, and records the seconds that each step of this process took."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the seconds of a step whose result is not cached."""
        start = time.monotonic()  # unlike `time.time`, never set back during a step
        yield
        self.seconds[name] = time.monotonic() - start

    def once(self, name: str, measure: Callable[[], Any]) -> Any:
        """The result of an earlier attempt, or of calling `measure` now."""
        path = self.state / f"{name}.json"
        if not path.is_file():
            with self.timed(name):
                write_json(path, measure())
            print(f"{name}: {self.seconds[name]:.1f} s", flush=True)
        # A fresh result is read back as well: a continued evaluation then works with the same values.
        return read_json(path)
