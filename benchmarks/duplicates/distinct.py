"""Select distinct documents, so that the duplicates planted later are the only ones and the ground truth is known.

A document is kept only if at most a quarter of its word 5-grams occur in the documents kept before. For two kept
documents A (earlier) and B then |A ∩ B| / |A ∪ B| <= |A ∩ B| / |B| <= 1/4. The set of 5-grams seen so far is a bitmap
indexed by hash: colliding hashes make a document look less distinct than it is, never more, so the bound always holds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

NGRAM = 5
# Fraction of the 5-grams of a document; also the highest possible Jaccard similarity of two originals.
MAX_SHARED_FRACTION = 0.25
_BITS = 32  # a bitmap of 512 MB: about one in a hundred bits is set by a corpus of 300 MB
_MULTIPLIER = np.uint64(
    0x9E3779B97F4A7C15
)  # 2^64 over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)


class DistinctFilter:
    """Decides for one document after the other whether it is distinct from those kept before."""

    def __init__(self) -> None:
        self._bitmap = np.zeros(2**_BITS // 8, dtype=np.uint8)
        self._numbers: defaultdict[str, int] = defaultdict(count(1).__next__)

    def add(self, words: Sequence[str]) -> bool:
        """True if the document is distinct from all documents kept so far; it is then added to them."""
        # Words as numbers, by first occurrence: Python's string hashes differ between processes.
        numbers = np.fromiter(map(self._numbers.__getitem__, words), dtype=np.uint64, count=len(words))
        grams = np.unique(_grams(numbers))
        byte, bit = grams >> np.uint64(3), np.uint8(1) << (grams & np.uint64(7)).astype(np.uint8)
        if np.count_nonzero(self._bitmap[byte] & bit) > MAX_SHARED_FRACTION * len(grams):
            return False
        # `.at`, because several 5-grams can set bits of one byte.
        np.bitwise_or.at(self._bitmap, byte, bit)
        return True


def _grams(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash of `_BITS` bits of every 5 consecutive words, given as numbers: uint64 [words - 4]."""
    total = np.zeros(len(numbers) - NGRAM + 1, dtype=np.uint64)
    for position in range(NGRAM):
        total = (total ^ numbers[position : position + len(total)]) * _MULTIPLIER
        total ^= total >> np.uint64(29)
    # The high bits: those of a product depend on all bits of its factors.
    return total >> np.uint64(64 - _BITS)


def recombined(texts: Sequence[str], seed: int) -> Iterator[str]:
    """Documents of randomly drawn lines, for a machine with too little text.

    Each pass over the shuffled lines uses every line once, so a recombined document shares a line or two at most with
    any other document: Jaccard similarities stay below 0.1.
    """
    lines = [line for text in texts for line in text.splitlines() if 8 <= len(line.split()) <= 40]
    for number in count():
        rng = random.Random(f"{seed} deal {number}")  # the text of this seed is part of the corpus's identity
        rng.shuffle(lines)
        start = 0
        while start < len(lines):
            size = rng.randint(30, 60)
            yield "\n".join(lines[start : start + size])
            start += size
        if not lines:
            return
