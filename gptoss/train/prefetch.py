"""Reading ahead: one thread reads the batches of the next steps while this step computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

AHEAD = 2
"""Batches that are read, or being read, while a step computes."""


class Prefetch(Generic[T]):
    """`take(step)` is `read(step)`, called in a thread while the steps before it were computed.

    An error of `read` is raised by the `take` of the very step that needs the batch, after those before it are served.
    """

    def __init__(self, read: Callable[[int], T], last: int, ahead: int = AHEAD) -> None:
        self._read, self._last, self._ahead = read, last, ahead
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._reading: dict[int, Future[T]] = {}

    def take(self, step: int) -> T:
        """The batch of `step`; begins to read those after it, up to the last step. Steps may be taken in any order,
        in sequence they do not wait."""
        kept = {number: reading for number, reading in self._reading.items() if number >= step}
        reading = kept.pop(step, None) or self._thread.submit(self._read, step)
        self._reading = kept
        batch = reading.result()
        for number in range(step + 1, min(step + self._ahead, self._last) + 1):
            if number not in kept:
                kept[number] = self._thread.submit(self._read, number)
        return batch

    def close(self) -> None:
        """Drop what was not read yet and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
