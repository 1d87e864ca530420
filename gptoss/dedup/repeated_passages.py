"""The passages of a part that occur earlier in the corpus, joined from its repeated windows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptoss.dedup.first_occurrence import UNSHARED, FirstOccurrences, PartKeys
from gptoss.text.arrays import Flags, Hashes, Integers


@dataclass(frozen=True)
class RepeatedPassages:
    """Passages of a part that occur earlier, in order, int64 [passages] per field.

    `rows`: their documents; `begins` and `ends`: their words, counted from the start of the part; `first_parts` and
    `first_words`: where the first window of each occurs first; `hashes` uint64: of this window.
    """

    rows: Integers
    begins: Integers
    ends: Integers
    first_parts: Integers
    first_words: Integers
    hashes: Hashes

    @classmethod
    def read(cls, folder: Path, number: int, ranges: int, window: int, bounds: Integers) -> RepeatedPassages:
        """Join the windows of part `number` whose first occurrence is earlier and does not overlap them. The words of
        document i are `bounds[i]:bounds[i + 1]`."""
        keys = PartKeys.read(folder, number)
        first = FirstOccurrences.read(folder, number, ranges)
        first_part = np.where(first.parts == UNSHARED, number, first.parts)[keys.key]
        first_word = first.words[keys.key]
        # Within a part an occurrence less than a window away overlaps the first one: a refrain, not a second passage.
        repeated = np.flatnonzero((first_part != number) | (keys.words - first_word >= window))
        begins = keys.words[repeated]
        rows = np.searchsorted(bounds, begins, side="right") - 1
        # Windows that touch or overlap in the same document form one passage.
        opens = np.ones(len(begins), dtype=np.bool_)
        opens[1:] = (rows[1:] != rows[:-1]) | (begins[1:] > begins[:-1] + window)
        closes = np.append(opens[1:], True)[: len(opens)]
        # Passages are identified by their first window, also when two of the same beginning differ in length.
        chosen = repeated[opens]
        return cls(
            rows[opens],
            begins[opens],
            begins[closes] + window,
            first_part[chosen],
            first_word[chosen],
            keys.keys[0, keys.key[chosen]],
        )

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, chosen: npt.NDArray[Any]) -> RepeatedPassages:
        """Some of the passages."""
        return RepeatedPassages(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def removable(self, bounds: Integers, min_kept_words: int) -> Flags:
        """Which passages can be removed, bool [passages]: the first passages of a document stay until at least
        `min_kept_words` words are left."""
        # From the end of each document, as the passages that are kept are its first ones.
        lengths = self.ends - self.begins
        from_here = np.cumsum(lengths[::-1])[::-1]  # words of this passage and all that follow in the part
        next_document = np.searchsorted(self.rows, self.rows, side="right")
        removed = from_here - np.append(from_here, 0)[next_document]
        return np.asarray(bounds[self.rows + 1] - bounds[self.rows] - removed >= min_kept_words)

    def sample(self, size: int) -> tuple[RepeatedPassages, Integers]:
        """At most `size` different passages, those with the least hashes, and how often each begins in this part.

        By hash and not at random: the least of all parts are among the least of each part, so the samples of parts can
        be merged into the sample of the corpus, with complete counts.
        """
        _, first, counts = np.unique(self.hashes, return_index=True, return_counts=True)
        return self.select(first[:size]), counts[:size]
