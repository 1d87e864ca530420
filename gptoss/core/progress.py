"""Progress display: a bar on a terminal, a plain line every few seconds anywhere else; status messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

# Logs of a day-long stage stay readable, and a person who follows one still sees that it is alive.
SECONDS_BETWEEN_LINES = 5.0


def print_status(message: str) -> None:
    """Print a message for the person who watches. On stderr, because stdout belongs to results; flushed, because under
    Slurm, Prefect or `nohup` stderr is a file or pipe that somebody follows."""
    print(message, file=sys.stderr, flush=True)


def progress(items: Iterable[T], description: str, *, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yield `items` and show count, total and rate. `total` defaults to `len(items)` where that exists."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total, unit=unit, mininterval=0.5)
        return
    # tqdm outside a terminal would fill log files with carriage returns, hence lines of our own.
    start = shown = time.monotonic()
    of_total = f"/{total}" if total else ""
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= SECONDS_BETWEEN_LINES:
            rate = count / (now - start)
            print_status(f"{description}: {count}{of_total} {unit}, {rate:.1f} {unit}/s")
            shown = now
