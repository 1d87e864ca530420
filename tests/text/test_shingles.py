"""Shingles against plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.text.normalize import find_words
from gptoss.text.shingles import hash_windows, shingle
from tests.text.kernels.reference import plain_window_hash

without_deadline = settings(deadline=None)  # the first call imports Numba and builds the table of characters


@without_deadline
@given(st.lists(st.text("ab ", max_size=25), max_size=5), st.integers(1, 4))
def test_shingles_are_all_runs_of_words(texts: list[str], size: int) -> None:
    shingles = shingle(find_words(pa.array(texts, pa.large_string())), size)
    runs = []
    for text in texts:
        words = text.split()
        whole = [tuple(words)] if words and len(words) < size else []
        runs.append(whole + [tuple(words[i : i + size]) for i in range(len(words) - size + 1)])
    assert np.diff(shingles.offsets).tolist() == [len(found) for found in runs]
    meaning: dict[int, tuple[str, ...]] = {}
    for found, value in zip((run for text in runs for run in text), shingles.hashes.tolist(), strict=True):
        assert meaning.setdefault(value, found) == found  # one hash, one run
    assert len(meaning) == len({run for text in runs for run in text})

    def distinct(text: int) -> list[int]:
        return sorted(set(shingles.hashes[shingles.offsets[text] : shingles.offsets[text + 1]].tolist()))

    sets, sizes = shingles.distinct_sets()
    assert sizes.tolist() == [len(set(found)) for found in runs]
    assert sets.tolist() == [value for text in range(len(texts)) for value in distinct(text)]


def test_word_order_matters_within_a_window() -> None:
    hashes = np.array([1, 2, 3, 2, 1], dtype=np.uint64)
    assert len(set(hash_windows(hashes, 3)[:3].tolist())) == 3


@without_deadline
@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(1, 14))
def test_windows_equal_plain_python(hashes: list[int], size: int) -> None:
    found = hash_windows(np.array(hashes, dtype=np.uint64), size).tolist()
    whole = max(0, len(hashes) - size + 1)
    expected = [plain_window_hash(hashes[start : start + size]) for start in range(whole)]
    assert found == expected + [0] * (len(hashes) - whole)
