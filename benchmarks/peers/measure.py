"""What every contestant reports of itself: it imports this, so it needs nothing but Python.

A contestant is a script run as `python SCRIPT DOCUMENTS LABELS [OPTIONS]` on one core. It starts the clock when its
libraries are imported, reads the documents, stops the clock when it knows which documents go, and then writes, for each
document in order, the position of the document kept in its place: its own when it is kept.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Iterable
from pathlib import Path


class Clock:
    """Runs from its creation to `stop`: wall seconds, and CPU seconds of this process and its ended children."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def stop(self) -> dict[str, float]:
        """The measurement so far."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": cpu_seconds() - self._cpu,
            "peak_rss_mb": peak_rss_mb(),
        }


def cpu_seconds() -> float:
    """CPU seconds of this process and its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_rss_mb() -> float:
    """Most memory this process had resident, MB. Not `ru_maxrss`: that one starts with what the parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def report(measured: dict[str, float], labels: Iterable[int], target: str) -> None:
    """Write the labels and print the measurement, one JSON object."""
    with open(target, "wb") as file:
        array("q", labels).tofile(file)
    print(json.dumps(measured))
