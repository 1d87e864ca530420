"""The decision about each document."""

from __future__ import annotations

from dataclasses import dataclass, field

from gptoss.dedup.corpus import Corpus
from gptoss.text.arrays import Flags, Floats, Integers


@dataclass(frozen=True)
class DedupDecisions:
    """The decision for each new document, by position (parts in the given order, rows in the order of the file).

    - `duplicate_of` int64 [documents]: position of the kept document that it duplicates, -1 if it is kept. Positions
      from `len(duplicate_of)` on are documents that earlier runs kept;
    - `jaccard` float64 [documents]: their Jaccard similarity, 0 if it is kept;
    - `exact` bool [documents]: it is removed because its words are the same;
    - `counts`: `candidate_pairs` and `verified_pairs`.
    """

    # Arrays and not rows: a billion documents take 17 bytes each here, as Python objects they would take hundreds.
    corpus: Corpus
    duplicate_of: Integers
    jaccard: Floats
    exact: Flags
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def removed(self) -> Flags:
        """Whether each document is removed, bool [documents]."""
        return self.duplicate_of >= 0
