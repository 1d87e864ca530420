"""MinHash: recall as in theory, and keys as in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.dedup.minhash import Permutations, band_keys
from gptoss.text.mixing import mix
from gptoss.text.shingles import hash_windows
from tests.dedup.arrays import numbers

without_deadline = settings(deadline=None)  # the first call imports Numba and builds the table of characters

PAIRS = 1_500
SIZE = 180


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("seed", [1, 1234])
def test_recall_equals_the_theoretical_collision_probability(similarity: float, seed: int) -> None:
    rng = np.random.default_rng(7)
    shared = round(2 * SIZE * similarity / (1 + similarity))  # of sets of SIZE elements each
    exact = shared / (2 * SIZE - shared)
    common = rng.integers(0, 2**64, (PAIRS, shared), dtype=np.uint64)
    own = rng.integers(0, 2**64, (2, PAIRS, SIZE - shared), dtype=np.uint64)
    sets = np.stack([np.concatenate((common, own[side]), axis=1) for side in (0, 1)], axis=1)
    offsets = np.arange(2 * PAIRS + 1) * SIZE
    keys = band_keys(sets.ravel(), offsets, 1, Permutations.from_seed(seed, 14, 8)).reshape(PAIRS, 2, 14)
    found = (keys[:, 0] == keys[:, 1]).any(axis=1).mean()
    expected = 1 - (1 - exact**8) ** 14
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / PAIRS) + 0.005


@without_deadline
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=9), max_size=4), st.integers(1, 5), st.integers(0, 9))
def test_band_keys_equal_plain_python(texts: list[list[int]], size: int, seed: int) -> None:
    permutations = Permutations.from_seed(seed, 3, 2)
    offsets = np.cumsum([0, *map(len, texts)])
    found = band_keys(numbers(*(word for text in texts for word in text)), offsets, size, permutations)
    for text, keys in zip(texts, found.tolist(), strict=True):
        words = numbers(*text)
        shingles = hash_windows(words, min(size, len(text) or 1))[: max(1, len(text) - size + 1)].tolist()
        for band, key in enumerate(keys):
            expected = band
            for row in range(2):
                factor, summand = int(permutations.multiply[band, row]), int(permutations.add[band, row])
                least = min((((hashed >> 32) * factor + summand) % 2**32 for hashed in shingles), default=0)
                expected = int(mix(numbers(expected ^ least))[0])
            assert key == (expected if text else 0)


def test_band_keys_depend_only_on_the_text() -> None:
    rng = np.random.default_rng(1)
    lengths = [0, 1, 5, 70_000, 0, 300, 200_000, 3]  # some longer than the kernel's chunk
    sets = [rng.integers(0, 2**64, length, dtype=np.uint64) for length in lengths]
    permutations = Permutations.from_seed(3, 4, 2)

    def keys(chosen: list[np.ndarray]) -> np.ndarray:
        return band_keys(np.concatenate(chosen), np.cumsum([0, *map(len, chosen)]), 1, permutations)

    together = keys(sets)
    assert np.array_equal(together, np.concatenate([keys([one]) for one in sets]))
    assert np.array_equal(together[::-1], keys(sets[::-1]))
    assert np.array_equal(keys([np.repeat(sets[5], 3)[::-1].copy()]), keys([sets[5]]))  # a set: no order, no counts
    assert (together[[0, 4]] == 0).all()
    assert (together[1] != 0).all()
