"""Anchors: the few words of a text from which every long passage that it shares with another can be found.

Winnowing (Schleimer, Wilkerson and Aiken 2003): in each window of words, the runs of half its length are hashed and the
least hash is an anchor. Two equal windows have the same least hash at the same place in them, so the hash of an anchor
in a window that occurs twice occurs twice. About 2 in `window // 2` words are anchors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss.text.normalize import Hashes, Integers, Words
from gptoss.text.shingles import window_hashes


def anchors(words: Words, hashes: Hashes, window: int) -> tuple[Integers, Hashes]:
    """Word int64 [anchors] at which each anchor begins, and its hash uint64 [anchors], given the words' hashes."""
    run = _run(window)
    runs = window_hashes(hashes, run) | np.uint64(1)  # odd, so that zero can stand for none
    reach = window - run + 1
    least = np.zeros(len(runs) + reach - 1, dtype=np.uint64)
    if len(runs) >= reach:
        least[reach - 1 : len(runs)] = _sliding(np.minimum, runs, reach)
    least[reach - 1 :][~whole(words, window)] = 0
    chosen = np.flatnonzero(_sliding(np.maximum, least, reach) == runs)
    return chosen, runs[chosen]


def windows_around(words: Words, found: Integers, window: int) -> Integers:
    """First word, int64 [windows], of every window in which one of the anchors at the words `found` lies whole."""
    reach = window - _run(window) + 1
    before = np.zeros(len(words.starts) + reach + 1, dtype=np.int64)
    before[found + 1] = 1
    before = np.cumsum(before)
    return np.flatnonzero((before[reach:-1] > before[: -reach - 1]) & whole(words, window))


def whole(words: Words, window: int) -> npt.NDArray[np.bool_]:
    """Whether the window that begins at each word ends in the same text, bool [words]."""
    ends = np.repeat(words.offsets[1:], words.counts)
    return np.asarray(np.arange(len(ends)) + window <= ends)


def _run(window: int) -> int:
    return max(1, window // 2)


def _sliding(least_or_most: np.ufunc, values: Hashes, size: int) -> Hashes:
    """The least or most of each `size` consecutive values, uint64 [values - size + 1], by doubling."""
    span = 1
    while 2 * span <= size:
        values = least_or_most(values[:-span], values[span:])
        span *= 2
    rest = size - span
    return least_or_most(values[:-rest], values[rest:]) if rest else values
