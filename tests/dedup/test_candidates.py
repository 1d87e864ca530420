"""Candidate pairs: all that share a key, bounded per bucket."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptoss.dedup.candidates import MAX_NEIGHBOURS, candidate_pairs, exact_duplicates
from gptoss.dedup.corpus import NEW_BIT
from tests.dedup.arrays import numbers, pairs_of


def test_exact_duplicates_name_the_preferred_document() -> None:
    high, low = numbers(7, 7, 7, 0, 7), numbers(1, 2, 1, 0, 1)
    copies, best = exact_duplicates(high, low, numbers(5, 1, 4, 1, 4), numbers(10, 11, 12, 13, 14))
    assert sorted(zip(copies.tolist(), best.tolist(), strict=True)) == [(10, 12), (14, 12)]
    assert [found.tolist() for found in exact_duplicates(*[numbers()] * 4)] == [[], []]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()), max_size=12))
def test_candidates_are_all_pairs_that_share_a_key(documents: list[tuple[int, int, bool]]) -> None:
    ranks = [rank + (int(NEW_BIT) if new else 0) for _, rank, new in documents]
    places = np.arange(len(documents), dtype=np.uint64) * np.uint64(3)
    found = candidate_pairs(numbers(*(key for key, _, _ in documents)), numbers(*ranks), places)
    expected = set()
    for i, (key, _, new) in enumerate(documents):
        for j, (other, _, other_new) in enumerate(documents):
            if key == other and (ranks[i], i) < (ranks[j], j) and (new or other_new):
                expected.add((3 * i, 3 * j))
    assert pairs_of(found) == sorted(expected)


def test_a_key_shared_by_all_documents_yields_a_bounded_number_of_pairs() -> None:
    documents = 3_000
    ranks = np.arange(documents, dtype=np.uint64)[::-1] + NEW_BIT
    pairs = pairs_of(candidate_pairs(np.full(documents, 5, np.uint64), ranks, np.arange(documents, dtype=np.uint64)))
    assert len(pairs) <= (MAX_NEIGHBOURS + 1) * documents
    assert {worse for better, worse in pairs if better == documents - 1} == set(range(documents - 1))
