"""Read the batches of the next steps in a background thread while the current step computes.

A thread is enough, without worker processes as in `torch.utils.data.DataLoader`: reading is a memory-mapped copy, which
releases the GIL, and is thousands of times faster than a training step consumes tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

# One batch ready and one being read; more would only occupy memory.
DEPTH = 2


class Prefetcher(Generic[T]):
    """`take(step)` returns `read(step)`, which ran in a thread during earlier steps.

    An error of `read` is raised by the `take` of the step that needs the batch, not before.
    """

    def __init__(self, read: Callable[[int], T], last: int, depth: int = DEPTH) -> None:
        self._read, self._last, self._depth = read, last, depth
        # One thread: batches are read in order, and each read is sequential within its windows.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._pending: dict[int, Future[T]] = {}

    def take(self, step: int) -> T:
        """Return the batch of `step` and start reading those after it, up to step `last`. Any order is allowed; only
        consecutive steps do not wait."""
        # Batches of earlier steps are stale after a rollback or a skipped range; drop them, or they would fill memory.
        self._pending = {number: future for number, future in self._pending.items() if number >= step}
        batch = (self._pending.pop(step, None) or self._thread.submit(self._read, step)).result()
        for number in range(step + 1, min(step + self._depth, self._last) + 1):
            if number not in self._pending:
                self._pending[number] = self._thread.submit(self._read, number)
        return batch

    def close(self) -> None:
        """Cancel pending reads and end the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
