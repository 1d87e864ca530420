"""Time and memory of a contestant. Every contestant imports this module, so it only needs Python's standard library.

A contestant is a script that runs as `python SCRIPT DOCUMENTS LABELS [OPTIONS]` on one core. It starts the clock after
importing its libraries, reads the documents, and stops the clock when it knows which documents are removed. Then it
writes, for each document in order, the position of the document kept in its place (its own if it is kept).
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Iterable
from pathlib import Path


class Clock:
    """Measures from its creation: wall seconds, and CPU seconds of this process and its terminated children."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def stop(self) -> dict[str, float]:
        """The measurement so far, with the peak memory of the process."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": cpu_seconds() - self._cpu,
            "peak_rss_mb": peak_rss_mb(),
        }


def cpu_seconds() -> float:
    """CPU seconds of this process and its terminated children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_rss_mb() -> float:
    """Peak resident memory of this process, in 10^6 bytes."""
    # Not `ru_maxrss`, which a child process inherits from its parent across `exec`.
    status = Path("/proc/self/status").read_text()
    # In kibibytes.
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def report(measured: dict[str, float], labels: Iterable[int], target: str) -> None:
    """Write the labels and print the measurement, one JSON object."""
    with open(target, "wb") as file:
        # 64-bit integers rather than JSON: a label per document, for millions of documents.
        array("q", labels).tofile(file)
    print(json.dumps(measured))
