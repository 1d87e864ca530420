"""The order of windows: a bijection in every epoch, with golden values."""

from __future__ import annotations

import numpy as np
import pytest

from gptoss.train.shuffle import ShuffledWindows, epoch_keys, permute

CONTEXT = 16


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_the_permutation_is_a_bijection(size: int) -> None:
    keys = epoch_keys(1234, 0)
    assert sorted(permute(np.arange(size), size, keys)) == list(range(size))


def test_the_permutation_mixes_and_depends_on_seed_and_epoch() -> None:
    orders = [permute(np.arange(1000), 1000, epoch_keys(seed, epoch)) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    for order in orders:
        assert abs(np.corrcoef(np.arange(1000), order)[0, 1]) < 0.13  # four standard deviations of a random order
    assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])


def test_golden_values_of_the_permutation() -> None:
    """A golden value: a change of the order would change every model trained with the same seed."""
    assert permute(np.arange(10), 10, epoch_keys(1234, 0)).tolist() == [8, 1, 4, 2, 6, 7, 5, 3, 0, 9]
    assert ShuffledWindows(100, 170, CONTEXT, 1234).starts(np.arange(9, 15)).tolist() == [112, 208, 160, 144, 240, 176]


@pytest.mark.parametrize("tokens", [2 * CONTEXT, 2 * CONTEXT + 1, 3097])
def test_every_window_occurs_once_per_epoch_and_within_its_range(tokens: int) -> None:
    windows = ShuffledWindows(50, tokens, CONTEXT, seed=7)
    for epoch in range(3):
        starts = windows.starts(np.arange(epoch * windows.per_epoch, (epoch + 1) * windows.per_epoch))
        assert len(set(starts)) == windows.per_epoch
        assert len(set(starts % CONTEXT)) == 1
        assert starts.min() >= 50 and starts.max() + CONTEXT < 50 + tokens
