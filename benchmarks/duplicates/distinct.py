"""Keep what is distinct: so that the duplicates planted later are the only ones, and the truth is known.

A document is kept only if at most a quarter of its word 5-grams stood in the documents kept before. For two kept
documents A (earlier) and B then |A ∩ B| / |A ∪ B| <= |A ∩ B| / |B| <= 1/4. The table of 5-grams met so far is a bit
a hash: hashes that collide make a document look less distinct than it is, never more, so the bound holds for sure.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

NGRAM = 5
MAX_SEEN = 0.25
"""Of the 5-grams of a document: the highest Jaccard similarity of two base documents."""
_BITS = 32
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Distinct:
    """Decides, document after document, which to keep."""

    def __init__(self) -> None:
        self._seen = np.zeros(2**_BITS // 8, dtype=np.uint8)
        self._numbers: defaultdict[str, int] = defaultdict(count(1).__next__)

    def add(self, words: Sequence[str]) -> bool:
        """Whether the document is distinct from all that were kept; it then counts as kept."""
        numbers = np.fromiter(map(self._numbers.__getitem__, words), dtype=np.uint64, count=len(words))
        grams = np.unique(_grams(numbers))
        place, bit = grams >> np.uint64(3), np.uint8(1) << (grams & np.uint64(7)).astype(np.uint8)
        if np.count_nonzero(self._seen[place] & bit) > MAX_SEEN * len(grams):
            return False
        np.bitwise_or.at(self._seen, place, bit)
        return True


def _grams(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of `_BITS` bits of every 5 consecutive words, uint64 [words - 4]."""
    total = np.zeros(len(numbers) - NGRAM + 1, dtype=np.uint64)
    for position in range(NGRAM):
        total = (total ^ numbers[position : position + len(total)]) * _BASE
        total ^= total >> np.uint64(29)
    return total >> np.uint64(64 - _BITS)


def recombined(texts: Sequence[str], seed: int) -> Iterator[str]:
    """Further documents, for a machine with too little text: lines dealt out at random, so that no two lines of a
    document come from one place. In one deal each line is used once, so a derived document shares at most a line or
    two with any other document: Jaccard similarities stay below 0.1."""
    lines = [line for text in texts for line in text.splitlines() if 8 <= len(line.split()) <= 40]
    for deal in count():
        order = random.Random(f"{seed} deal {deal}")
        order.shuffle(lines)
        start = 0
        while start < len(lines):
            size = order.randint(30, 60)
            yield "\n".join(lines[start : start + size])
            start += size
        if not lines:
            return
