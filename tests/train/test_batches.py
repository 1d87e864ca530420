"""The batches of one step: equal for any number of ranks, and checked against the vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gptoss.core.errors import DataError
from gptoss.tables.token_files import TokenSplit
from gptoss.train.batches import IGNORE_INDEX, TrainingBatches, pad_batch, read_windows, validation_windows
from gptoss.train.mixture import SampleOrder
from gptoss.train.run_config import RunConfig
from tests.training_runs import cluster, write_shards

CONTEXT = 16


@pytest.fixture
def train(workspace: Path) -> TokenSplit:
    write_shards(Path("shards"))
    return TokenSplit.open(Path("shards"), "train")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_any_number_of_ranks_reads_the_same_global_batch(make_run_config: Callable[..., RunConfig], ranks: int) -> None:
    run_config = make_run_config(cluster(shard=ranks), **{"pretrain.steps": 40})
    train = TokenSplit.open(Path("data/shards"), "train")
    order = SampleOrder(train, run_config.settings)
    parts = [TrainingBatches(train, order, run_config, rank, torch.device("cpu")) for rank in range(ranks)]
    taken = [part.take(31) for part in parts]
    whole = torch.from_numpy(read_windows(train, order.starts(8 * 30, 8), CONTEXT))
    assert torch.equal(torch.cat([inputs for inputs, _ in taken]), whole[:, :-1])
    assert torch.equal(torch.cat([targets for _, targets in taken]), whole[:, 1:])
    assert whole.shape == (8, CONTEXT + 1) and taken[0][0].dtype == torch.int64
    for step in (31, 32, 7):
        assert list(parts[0].source_tokens(step).values()) == order.tokens(0, step * 8).tolist()
    for part in parts:
        part.close()


def test_a_token_outside_the_vocabulary_is_found_where_it_is(train: TokenSplit) -> None:
    path = Path("shards/train-00001.bin")
    tokens = np.fromfile(path, "<u2")
    tokens[7] |= 1 << 15
    tokens.tofile(path)
    damaged = TokenSplit.open(Path("shards"), "train")
    read_windows(damaged, np.array([0]), CONTEXT)
    with pytest.raises(DataError, match=r"train-00001\.bin holds token 327.., outside the vocabulary of 320"):
        read_windows(damaged, np.array([0, 1500]), CONTEXT)
    with pytest.raises(DataError, match=r"train-00001\.bin: SHA-256"):
        damaged.verify()
    damaged.verify(part=0, parts=3)
    with pytest.raises(DataError, match=r"train-00001\.bin: SHA-256"):
        damaged.verify(part=1, parts=3)


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
    inputs, targets = pad_batch(np.arange(2 * 5).reshape(2, 5), rows=3)
    assert inputs.shape == targets.shape == (3, 4)
    assert targets[0].tolist() == [1, 2, 3, 4] and (targets[2] == IGNORE_INDEX).all()
