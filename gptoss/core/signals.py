"""Requests to stop: SIGTERM (a scheduler, a cancelled flow, `kill`) or Ctrl-C.

The first request asks for an orderly stop: the current step is finished and saved. A second one stops immediately.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A scheduler signals every process of a job, and launchers forward the signals they get, so one request can arrive
# several times. A person who insists needs longer than this to press Ctrl-C again.
REPEAT_SECONDS = 3.0


class StopRequest:
    """`requested` is True once this process was asked to stop; `on_second_request` is called when it is asked again."""

    def __init__(self, on_second_request: Callable[[], None]) -> None:
        self.requested = False
        self._on_second_request = on_second_request
        self._requested_at = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. It only sets a flag: the training loop agrees on a stop with the other ranks."""
        now = time.monotonic()
        if not self.requested:
            self.requested, self._requested_at = True, now
        elif now - self._requested_at >= REPEAT_SECONDS:
            self._on_second_request()


@contextmanager
def stop_request(on_second_request: Callable[[], None]) -> Iterator[StopRequest]:
    """Handle stop requests inside the block. Only the main thread can set signal handlers."""
    request = StopRequest(on_second_request)
    previous = {number: signal.signal(number, request.handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
