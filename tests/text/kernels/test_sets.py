"""The set kernels against Python's sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptoss.text.arrays import offsets_of
from gptoss.text.kernels.sets import intersection_sizes, keep_distinct

VALUES = st.one_of(st.integers(0, 9), st.integers(2**64 - 5, 2**64 - 1))


@given(st.lists(st.lists(VALUES, max_size=12), max_size=5))
def test_distinct_values_of_sorted_runs(runs: list[list[int]]) -> None:
    values = np.array([value for run in runs for value in sorted(run)], dtype=np.uint64)
    sizes = np.zeros(len(runs), dtype=np.int64)
    count = keep_distinct(values, offsets_of([len(run) for run in runs]), sizes)
    assert sizes.tolist() == [len(set(run)) for run in runs]
    assert values[:count].tolist() == [value for run in runs for value in sorted(set(run))]


@given(st.lists(st.sets(VALUES, max_size=12), min_size=1, max_size=5))
def test_intersections_of_all_pairs(sets: list[set[int]]) -> None:
    hashes = np.array([value for one in sets for value in sorted(one)], dtype=np.uint64)
    pairs = [(left, right) for left in range(len(sets)) for right in range(len(sets))]
    counts = np.zeros(len(pairs), dtype=np.int64)
    intersection_sizes(hashes, offsets_of([len(one) for one in sets]), np.array(pairs), counts)
    assert counts.tolist() == [len(sets[left] & sets[right]) for left, right in pairs]
