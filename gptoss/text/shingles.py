"""Shingles: every run of n consecutive words of a text, as 64-bit hashes (Broder 1997).

A text shorter than n words has one shingle, all of its words; a text without words has none. Two different shingles
share a hash with probability 2^-64, so sets of hashes represent sets of shingles.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gptoss.text.arrays import Hashes, Integers, offsets_of
from gptoss.text.normalize import Words


@dataclass(frozen=True)
class Shingles:
    """The shingles of a batch of texts, in reading order, with repetitions.

    `hashes` uint64 [shingles]; `offsets` int64 [texts + 1]: those of text i are `offsets[i]:offsets[i + 1]`.
    """

    hashes: Hashes
    offsets: Integers

    def distinct_sets(self) -> tuple[Hashes, Integers]:
        """The shingle sets of all texts one after the other, each sorted, and their sizes, int64 [texts]."""
        from gptoss.text.kernels.sets import keep_distinct

        hashes = self.hashes.copy()
        # One NumPy sort per text: it uses SIMD, and one sort of all by (text, hash) would need 16 bytes per shingle.
        for start, end in pairwise(self.offsets.tolist()):
            hashes[start:end].sort()
        sizes = np.zeros(len(self.offsets) - 1, dtype=np.int64)
        return hashes[: keep_distinct(hashes, self.offsets, sizes)], sizes


def shingle(words: Words, size: int) -> Shingles:
    """All shingles of `size` words."""
    from gptoss.text.kernels.hashing import shingle_hashes

    counts = words.counts
    offsets = offsets_of(np.where(counts >= size, counts - size + 1, np.minimum(counts, 1)))
    hashes = np.empty(offsets[-1], dtype=np.uint64)
    shingle_hashes(words.hashes, words.offsets, size, offsets, hashes)
    return Shingles(hashes, offsets)


def hash_windows(word_hashes: Hashes, size: int) -> Hashes:
    """A hash of the window of `size` words that begins at each word, uint64 [words]. The last `size - 1` elements,
    whose windows would extend past the end, are zero."""
    from gptoss.text.kernels.hashing import shingle_hashes

    # Aligned with the words, so that callers can index it by word, and across the texts of a batch in one pass: callers
    # exclude windows that extend into the next text.
    windows = np.zeros(len(word_hashes), dtype=np.uint64)
    if len(word_hashes) >= size:
        shingle_hashes(
            word_hashes, offsets_of([len(word_hashes)]), size, offsets_of([len(windows) - size + 1]), windows
        )
    return windows
