"""Decisions about exact duplicates follow those about the preferred documents."""

from __future__ import annotations

import numpy as np

from gptoss.dedup.corpus import Corpus
from gptoss.dedup.find_duplicates import resolve_clusters


def test_an_exact_duplicate_of_a_removed_document_duplicates_the_kept_one() -> None:
    class Ranked(Corpus):
        new_documents = 5

        def ranks(self, positions: np.ndarray) -> np.ndarray:
            return positions.astype(np.uint64)

    # 6 and 7 were kept by an earlier run: 7 has a higher rank than 0, but is preferred as it is known.
    edges, duplicates, preferred = np.array([[0, 1], [7, 2]]), np.array([3, 4]), np.array([1, 6])
    decisions = resolve_clusters(Ranked(()), edges, np.array([0.75, 0.8]), duplicates, preferred, {})
    assert decisions.duplicate_of.tolist() == [-1, 0, 7, 0, 6]
    assert decisions.jaccard.tolist() == [0, 0.75, 0.8, 0.75, 1]
    assert decisions.exact.tolist() == [False, False, False, False, True]
    assert decisions.removed.tolist() == [False, True, True, True, True]
