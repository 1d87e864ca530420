"""Shingles: every run of n consecutive words of a text, as 64-bit hashes.

A text shorter than n words has one shingle, all of it; a text without words has none. Two different shingles share a
hash with probability 2^-64, so sets of hashes stand for sets of shingles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gptoss.text.normalize import Hashes, Integers, Words, word_hashes


@dataclass(frozen=True)
class Shingles:
    """The shingles of a batch of texts, in reading order, repetitions included.

    `hashes` uint64 [shingles]; `offsets` int64 [texts + 1]: those of text i are `offsets[i]:offsets[i + 1]`.
    """

    hashes: Hashes
    offsets: Integers

    def distinct_sets(self) -> tuple[Hashes, Integers]:
        """The shingle sets of all texts one after the other, each sorted, and their sizes, int64 [texts]."""
        from gptoss.text import kernels

        hashes = self.hashes.copy()
        for start, end in pairwise(self.offsets.tolist()):
            hashes[start:end].sort()
        sizes = np.zeros(len(self.offsets) - 1, dtype=np.int64)
        return hashes[: kernels.compact(hashes, self.offsets, sizes)], sizes

    def distinct(self, text: int) -> Hashes:
        """The shingle set of one text, sorted."""
        return np.unique(self.hashes[self.offsets[text] : self.offsets[text + 1]])


def shingle(words: Words, size: int) -> Shingles:
    """All shingles of `size` words."""
    from gptoss.text import kernels

    counts = words.counts
    shingles = np.where(counts >= size, counts - size + 1, np.minimum(counts, 1))
    offsets = np.concatenate(([0], np.cumsum(shingles)))
    hashes = np.empty(offsets[-1], dtype=np.uint64)
    kernels.shingles(word_hashes(words), words.offsets, size, offsets, hashes)
    return Shingles(hashes, offsets)


def window_hashes(hashes: Hashes, size: int) -> Hashes:
    """A hash of each window of `size` consecutive word hashes, uint64 [words]: a polynomial in a fixed odd base modulo
    2^64, then mixed. The last `size - 1` windows, which run past the end, count absent words as zero."""
    from gptoss.text import kernels

    windows = np.empty(len(hashes), dtype=np.uint64)
    kernels.windows(hashes, size, windows)
    return windows
