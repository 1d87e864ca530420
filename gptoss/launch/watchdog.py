"""Notices a run that hangs: no step has finished for too long.

All ranks finish a step together, so all their watchdogs bark at once. Each writes the stacks of its threads to the
ranks' log and leaves a note that says whether it waits for other ranks or is busy itself; a rank that leaves none is
stopped, or stuck in the kernel. From the notes `failures.explain` names the rank that hangs.
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

from gptoss.launch import failures
from gptoss.launch.failures import Failure
from gptoss.train import parallel_context

LINGER_SECONDS = 2.0
"""Others need the connections of this rank until they have left their notes too."""
LIBRARY = str(Path("torch") / "distributed")


class Watchdog:
    """`beat()` after every step; without one for `seconds`, counted from the first, the process ends. `stop()` when no
    more steps are to come."""

    def __init__(self, seconds: float | None, state: Path, rank: int) -> None:
        self._seconds, self._state, self._rank = seconds, state, rank
        self._last = 0.0
        self._stopped = threading.Event()
        self._watched = threading.main_thread().ident or 0

    def beat(self) -> None:
        """A step, a validation or a save is done."""
        started = self._last > 0
        self._last = time.monotonic()
        if self._seconds is not None and not started:
            threading.Thread(target=self._watch, args=(self._seconds,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self, seconds: float) -> None:
        while time.monotonic() - self._last < seconds:
            if self._stopped.wait(min(1.0, seconds / 10)):
                return
        print(f"rank {self._rank}: no step finished within {seconds:g} s; all threads:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        frame = sys._current_frames()[self._watched]
        kind = "waits" if waits(frame) else "hangs"
        failures.report(self._state, Failure(self._rank, time.time(), kind, f"{seconds:g} s, in {place(frame)}"))
        time.sleep(LINGER_SECONDS)
        os._exit(1)


def waits(frame: FrameType) -> bool:
    """Whether a thread waits for other ranks: in torch.distributed, or anywhere below `mesh.py`, where the host waits
    for a GPU that waits for the others in NCCL."""
    if LIBRARY in frame.f_code.co_filename:
        return True
    return any(caller.f_code.co_filename == parallel_context.__file__ for caller, _ in traceback.walk_stack(frame))


def place(frame: FrameType) -> str:
    """File, line and function."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
