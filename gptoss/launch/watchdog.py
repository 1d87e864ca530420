"""Detects a hanging run: no step has finished for too long.

All ranks finish a step together, so the watchdogs of all ranks fire at the same time. Each one writes the stacks of its
threads to the ranks' log and reports whether its rank waits for other ranks or is busy itself. A rank without a report
is suspended or stuck in the kernel. `failures.explain` names the hanging rank from these reports.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

from gptoss.core.progress import print_status
from gptoss.launch import failures
from gptoss.launch.failures import Failure
from gptoss.train import parallel_context

# The watchdogs of other ranks fire within about a second. A rank that exits earlier breaks their connections, and they
# would report that instead of the hang.
LINGER_SECONDS = 2.0
TORCH_DISTRIBUTED = str(Path("torch") / "distributed")


class Watchdog:
    """Ends the process when `beat()` is not called for `seconds`, counted from its first call: starting up, compiling
    and loading a checkpoint take as long as they take. `stop()` ends the watch. `seconds` None: never ends it."""

    def __init__(self, seconds: float | None, state: Path, rank: int) -> None:
        self._seconds, self._state, self._rank = seconds, state, rank
        self._last_beat = 0.0
        self._stopped = threading.Event()
        self._watched_thread = threading.main_thread().ident or 0

    def beat(self) -> None:
        """Call after each step, validation and save."""
        started = self._last_beat > 0
        self._last_beat = time.monotonic()
        if self._seconds is not None and not started:
            # A thread, not SIGALRM: Python runs signal handlers in the main thread only, which is the one that hangs.
            threading.Thread(target=self._watch, args=(self._seconds,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self, seconds: float) -> None:
        while time.monotonic() - self._last_beat < seconds:
            if self._stopped.wait(min(1.0, seconds / 10)):
                return
        print_status(f"rank {self._rank}: no step finished within {seconds:g} s; all threads:")
        # faulthandler prints the stacks of all threads without allocating memory, which may be what has run out.
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        frame = sys._current_frames()[self._watched_thread]
        kind = "waits" if waits(frame) else "hangs"
        failures.report(self._state, Failure(self._rank, time.time(), kind, f"{seconds:g} s, in {location(frame)}"))
        time.sleep(LINGER_SECONDS)
        # The main thread is stuck, perhaps inside a native call: no exception could reach it.
        os._exit(1)


def waits(frame: FrameType) -> bool:
    """True when a thread waits for other ranks: it is in torch.distributed, or anywhere below `parallel_context.py`,
    where the host waits for a GPU that waits for the others in NCCL."""
    if TORCH_DISTRIBUTED in frame.f_code.co_filename:
        return True
    return any(caller.f_code.co_filename == parallel_context.__file__ for caller, _ in traceback.walk_stack(frame))


def location(frame: FrameType) -> str:
    """File, line and function."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
