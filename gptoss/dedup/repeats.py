"""The passages of a part that occur earlier in the corpus, joined from its repeated windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptoss.dedup.first_occurrence import NOBODY, Occurrences, Owners
from gptoss.text.normalize import Hashes, Integers


@dataclass(frozen=True)
class Repeats:
    """Passages of a part that occur earlier, in order, int64 [passages] each: `rows`, their documents; `begins` and
    `ends`, their words, counted from the start of the part; `first_parts` and `first_words`, where the first window of
    each occurs first; `hashes` uint64, of this window."""

    rows: Integers
    begins: Integers
    ends: Integers
    first_parts: Integers
    first_words: Integers
    hashes: Hashes

    @classmethod
    def of(cls, folder: Path, number: int, ranges: int, window: int, bounds: Integers) -> Repeats:
        """Join the windows of a part whose first occurrence is earlier and apart."""
        found = Occurrences.read(folder, number)
        owners = Owners.read(folder, number, ranges)
        first_part = np.where(owners.parts == NOBODY, number, owners.parts)[found.key]
        first_word = owners.words[found.key]
        repeated = np.flatnonzero((first_part != number) | (found.words - first_word >= window))
        begins = found.words[repeated]
        rows = np.searchsorted(bounds, begins, side="right") - 1
        new = np.ones(len(begins), dtype=np.bool_)
        new[1:] = (rows[1:] != rows[:-1]) | (begins[1:] > begins[:-1] + window)
        last = np.append(new[1:], True)[: len(new)]
        of = repeated[new]
        return cls(
            rows[new], begins[new], begins[last] + window, first_part[of], first_word[of], found.keys[0, found.key[of]]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, chosen: npt.NDArray[Any]) -> Repeats:
        """Some of the passages."""
        arrays = (self.rows, self.begins, self.ends, self.first_parts, self.first_words, self.hashes)
        return Repeats(*(array[chosen] for array in arrays))

    def affordable(self, bounds: Integers, min_kept_words: int) -> npt.NDArray[np.bool_]:
        """Which passages can go, bool [passages]: the first ones of a document stay until enough words are left."""
        lengths = self.ends - self.begins
        after = np.cumsum(lengths[::-1])[::-1]  # words of this passage and all that follow
        of_next = np.searchsorted(self.rows, self.rows, side="right")
        cut = after - np.append(after, 0)[of_next]
        return np.asarray(bounds[self.rows + 1] - bounds[self.rows] - cut >= min_kept_words)

    def sample(self, size: int) -> tuple[Repeats, Integers]:
        """At most `size` different passages, those with the least hashes, and how often each begins here. The least of
        all parts are among the least of each, so the samples of the parts add up to that of the corpus."""
        _, first, counts = np.unique(self.hashes, return_index=True, return_counts=True)
        return self.select(first[:size]), counts[:size]
