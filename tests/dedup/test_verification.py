"""Verification: edges are exactly the pairs whose measured similarity reaches the threshold."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.dedup.corpus import Corpus, Part
from gptoss.dedup.shingle_sets import ShingleSets
from gptoss.dedup.verification import MIN_PAIRS_PER_TASK, plan_verification, similar_pairs
from tests.dedup.arrays import numbers, pairs_of

without_deadline = settings(deadline=None)  # the first call imports Numba and builds the table of characters


@without_deadline
@given(st.lists(st.sets(st.integers(0, 12)), min_size=2, max_size=9), st.integers(1, 4), st.integers(1, 3))
def test_edges_are_the_pairs_that_are_similar(sets: list[set[int]], group: int, cut: int) -> None:
    """With sets in two files, and in groups smaller than the number of pairs."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("gptoss.dedup.verification.MAX_GROUP_PAIRS", group)
        patched.setattr("gptoss.dedup.verification.GROUP_BYTES", 100)
        patched.setattr("gptoss.dedup.shingle_sets.OFFSETS_PER_PAGE", cut - 1)
        parts, first = [], 0
        for number, piece in enumerate((sets[:cut], sets[cut:])):
            path = Path(folder) / str(number)
            offsets = np.cumsum([0, *map(len, piece)])
            np.array([*offsets, *(value for one in piece for value in sorted(one))], dtype="<u8").tofile(path)
            parts.append(Part("", str(path), first, len(piece), False))
            first += len(piece)
        pairs = [(i, j) for i in range(len(sets)) for j in range(len(sets)) if i != j]
        with ShingleSets(Corpus(tuple(parts))) as stored:
            edges, similarities = similar_pairs(numbers(*(i << 32 | j for i, j in pairs)), stored, 0.5)
    expected = {(i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in pairs if sets[i] | sets[j]}
    assert dict(zip(pairs_of(edges), similarities.tolist(), strict=True)) == {
        pair: similarity for pair, similarity in expected.items() if similarity >= 0.5
    }


def test_tasks_divide_the_pairs_and_every_paired_document_is_marked(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pairs = np.unique(
        rng.integers(0, 900, 40_000).astype("<u8") << np.uint64(32) | rng.integers(0, 900, 40_000).astype("<u8")
    )
    files = []
    for number in range(2):
        files.append(str(tmp_path / f"{number}.u64"))
        pairs[number::2].tofile(files[-1])
    paired, limits = plan_verification(files, 1_000)
    assert np.flatnonzero(paired).tolist() == np.unique(np.concatenate((pairs >> 32, pairs & 0xFFFFFFFF))).tolist()
    per_task = [int(((pairs >= low) & (pairs < high)).sum()) for low, high in pairwise(limits)]
    assert sum(per_task) == len(pairs) and len(per_task) > 10
    assert max(per_task) < 1.5 * MIN_PAIRS_PER_TASK
