"""The order of samples: a bijection, a pure function of (seed, step), the same for any number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.pretrain.data import IGNORED, TrainingWindows, pad, permute, read_windows, round_keys, validation_windows
from stages.token_files import TokenSplit
from tests.pretrain.conftest import write_shards

CONTEXT = 16


@pytest.fixture
def train(workspace: Path) -> TokenSplit:
    write_shards(Path("shards"))
    return TokenSplit.open(Path("shards"), "train")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_the_permutation_is_a_bijection(size: int) -> None:
    keys = round_keys(1234, 0)
    assert sorted(permute(np.arange(size), size, keys)) == list(range(size))


def test_the_permutation_mixes_and_depends_on_seed_and_epoch() -> None:
    orders = [permute(np.arange(1000), 1000, round_keys(seed, epoch)) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    for order in orders:
        assert abs(np.corrcoef(np.arange(1000), order)[0, 1]) < 0.13  # four standard deviations of a random order
    assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])


def test_the_permutation_is_this_one() -> None:
    """A golden value: a change of the order would change every model trained with the same seed."""
    assert permute(np.arange(10), 10, round_keys(1234, 0)).tolist() == [8, 1, 4, 2, 6, 7, 5, 3, 0, 9]


def test_every_window_comes_once_an_epoch(train: TokenSplit) -> None:
    windows = TrainingWindows(train, CONTEXT, seed=7)
    for epoch in range(3):
        starts = windows.starts(epoch * windows.per_epoch, windows.per_epoch)
        assert len(set(starts)) == windows.per_epoch
        assert len(set(starts % CONTEXT)) == 1
        assert starts.min() >= 0 and starts.max() + CONTEXT + 1 <= len(train)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_any_number_of_ranks_reads_the_same_global_batch(train: TokenSplit, ranks: int) -> None:
    windows = TrainingWindows(train, CONTEXT, seed=7)
    first, sequences = 8 * 30, 8
    whole = windows.read(first, sequences)
    each = sequences // ranks
    parts = [windows.read(first + rank * each, each) for rank in range(ranks)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (sequences, CONTEXT + 1) and whole.dtype == np.int64


def test_a_window_is_a_slice_across_files(train: TokenSplit) -> None:
    everything = train[:]
    starts = np.array([0, 1490, 2999, len(train) - CONTEXT - 1])
    for start, window in zip(starts, read_windows(train, starts, CONTEXT), strict=True):
        assert window.tolist() == everything[start : start + CONTEXT + 1].tolist()
    assert read_windows(train, np.empty(0, np.int64), CONTEXT).shape == (0, CONTEXT + 1)


@pytest.mark.parametrize(("tokens", "expected"), [(1, 1), (160, 10), (10**9, 25)])
def test_validation_reads_windows_spread_over_the_split(workspace: Path, tokens: int, expected: int) -> None:
    write_shards(Path("shards"))
    split = TokenSplit.open(Path("shards"), "validation")
    starts = validation_windows(split, CONTEXT, tokens)
    assert len(set(starts)) == expected
    assert starts.max() + CONTEXT + 1 <= len(split)
    assert np.diff(starts).min(initial=CONTEXT) >= CONTEXT


def test_a_padded_batch_counts_only_what_was_read() -> None:
    inputs, targets = pad(np.arange(2 * 5).reshape(2, 5), rows=3)
    assert inputs.shape == targets.shape == (3, 4)
    assert targets[0].tolist() == [1, 2, 3, 4] and (targets[2] == IGNORED).all()
