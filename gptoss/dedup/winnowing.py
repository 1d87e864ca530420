"""Winnowing: select few words of a text such that every long passage it shares with another one can be found.

In each window of words, the runs of half its length are hashed, and the run with the least hash is selected as a
fingerprint. Equal windows have the same least hash at the same offset, so the fingerprint of a window that occurs twice
occurs twice. About 2 in `window // 2` words are selected.

References: Schleimer, Wilkerson and Aiken, Winnowing: Local Algorithms for Document Fingerprinting (SIGMOD 2003).
"""

from __future__ import annotations

import numpy as np

from gptoss.text.arrays import Flags, Hashes, Integers
from gptoss.text.normalize import Words
from gptoss.text.shingles import hash_windows


def fingerprints(words: Words, window: int) -> tuple[Integers, Hashes]:
    """The word at which each fingerprint begins, int64 [fingerprints], and its hash, uint64 [fingerprints]."""
    run_length = _run_length(window)
    runs = hash_windows(words.hashes, run_length) | np.uint64(1)  # odd, so that zero can mean "no window here"
    runs_per_window = window - run_length + 1
    # Element i + runs_per_window - 1 is the least hash of the window that begins at word i.
    least = np.zeros(len(runs) + runs_per_window - 1, dtype=np.uint64)
    if len(runs) >= runs_per_window:
        least[runs_per_window - 1 : len(runs)] = _sliding(np.minimum, runs, runs_per_window)
    least[runs_per_window - 1 :][~complete_windows(words, window)] = 0
    # A run is a fingerprint if it is the least of any window around it. None of these minima exceeds the run itself, so
    # it suffices to compare it with their maximum.
    selected = np.flatnonzero(_sliding(np.maximum, least, runs_per_window) == runs)
    return selected, runs[selected]


def windows_containing(words: Words, starts: Integers, window: int) -> Integers:
    """First word, int64 [windows], of every window that contains one of the fingerprints at the words `starts`."""
    runs_per_window = window - _run_length(window) + 1
    # before[i]: number of fingerprints that begin before word i.
    before = np.zeros(len(words.starts) + runs_per_window + 1, dtype=np.int64)
    before[starts + 1] = 1
    before = np.cumsum(before)  # a difference of two elements counts the fingerprints between them
    contains = before[runs_per_window:-1] > before[: -runs_per_window - 1]
    return np.flatnonzero(contains & complete_windows(words, window))


def complete_windows(words: Words, window: int) -> Flags:
    """Whether the window that begins at each word ends in the same text, bool [words]."""
    ends = np.repeat(words.offsets[1:], words.counts)
    return np.asarray(np.arange(len(ends)) + window <= ends)


def _run_length(window: int) -> int:
    # Half the window: longer runs would be selected more densely, shorter ones would repeat by chance more often.
    return max(1, window // 2)


def _sliding(minimum_or_maximum: np.ufunc, values: Hashes, size: int) -> Hashes:
    """Minimum or maximum of each `size` consecutive values, uint64 [values - size + 1].

    By doubling: from ranges of 2^k values follow those of 2^(k + 1), and two that overlap give any size in between.
    """
    span = 1
    while 2 * span <= size:
        values = minimum_or_maximum(values[:-span], values[span:])
        span *= 2
    rest = size - span
    return minimum_or_maximum(values[:-rest], values[rest:]) if rest else values
