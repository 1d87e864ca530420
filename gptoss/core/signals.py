"""A request to stop: SIGTERM (a scheduler, a cancelled flow, `kill`) or Ctrl-C.

The first one is a wish, granted after the step under way; the next one is an order. A scheduler signals every process
of a job, and launchers pass on what they get, so what arrives within `REPEAT_SECONDS` counts as one request.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_SECONDS = 3.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether this process was asked to stop; when it is asked again, `insist` is called."""

    def __init__(self, insist: Callable[[], None]) -> None:
        self.requested = False
        self._insist = insist
        self._since = 0.0

    def take(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        now = time.monotonic()
        if not self.requested:
            self.requested, self._since = True, now
        elif now - self._since >= REPEAT_SECONDS:
            self._insist()


@contextmanager
def stop_request(insist: Callable[[], None]) -> Iterator[StopRequest]:
    """Take requests to stop in this process, from its main thread."""
    request = StopRequest(insist)
    before = {number: signal.signal(number, request.take) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
