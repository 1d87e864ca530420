"""The source of each sample: proportional after every sample, in every phase, and counted to the token."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.tables.token_files import TokenSplit
from gptoss.train.batches import read_windows
from gptoss.train.mixture import MAX_CYCLE_SAMPLES, MixtureCycle, SampleOrder, samples_per_cycle
from tests.training_runs import write_shards

CONTEXT = 16
SEQUENCES = 8
MIXED: dict[str, Any] = {
    "pretrain.steps": 40,
    "pretrain.mixture": {"gutenberg": 3, "wikipedia": 1},
    "pretrain.phases": [
        {"from_fraction": 0.5, "mixture": {"wikipedia": 1, "gutenberg": 0}},
        {"from_fraction": 0.81, "mixture": {"gutenberg": 0.3, "wikipedia": 0.7}},
    ],
}


@pytest.fixture
def train(workspace: Path) -> TokenSplit:
    write_shards(Path("shards"))
    return TokenSplit.open(Path("shards"), "train")


@pytest.fixture
def order(train: TokenSplit, tiny: Callable[..., Settings]) -> Callable[..., SampleOrder]:
    return lambda **changes: SampleOrder(train, tiny(**changes))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0], [1]),
        ([0.6, 0.3, 0.1], [6, 3, 1]),
        ([2.0, 4.0, 0.0], [1, 2, 0]),
        ([1e-9, 1.0], [1, MAX_CYCLE_SAMPLES]),
        ([52_346_812.0, 17_448_937.0], [7_500, 2_500]),
    ],
)
def test_weights_become_whole_samples_of_a_cycle(weights: list[float], expected: list[int]) -> None:
    assert samples_per_cycle(weights) == expected


@pytest.mark.parametrize(
    "weights",
    [[0.9, 1 / 30, 1 / 30, 1 / 30], [1, 1, 1, 1, 1], [0.7, 0.2, 0.06, 0.04], [5, 0, 1e-3], [0.31, 0.29, 0.4], [2, 3]],
)
def test_every_source_is_within_one_sample_of_its_weight_after_every_sample(weights: list[float]) -> None:
    cycle = MixtureCycle(weights)
    samples = np.arange(3 * len(cycle.order) + 7)
    sources, numbers = cycle.assign(samples)
    counts = np.cumsum(sources[:, None] == np.arange(len(weights)), axis=0)
    shares = cycle.counts_per_cycle / cycle.counts_per_cycle.sum()
    assert np.abs(counts - (samples[:, None] + 1) * shares).max() < 1
    exact = len(cycle.order) < MAX_CYCLE_SAMPLES - len(weights)
    assert np.abs(shares - np.array(weights) / sum(weights)).max() < (1e-15 if exact else 1 / MAX_CYCLE_SAMPLES)
    for source in range(len(weights)):
        assert numbers[sources == source].tolist() == list(range(counts[-1, source])), "each source counts its own"
    for k in (0, 1, 5, len(cycle.order), len(samples)):
        assert cycle.counts(k).tolist() == np.bincount(sources[:k], minlength=len(weights)).tolist()


def test_golden_values_of_the_order(order: Callable[..., SampleOrder]) -> None:
    """Golden values: a change of the order would change every model trained with the same settings."""
    assert order().starts(0, 6).tolist() == [1181, 2637, 2381, 2365, 493, 2669]
    assert order(**MIXED).starts(158, 8).tolist() == [277, 3017, 2841, 2937, 1721, 2265, 1961, 2393]


def test_each_phase_has_its_mixture_and_continues_in_each_source(
    order: Callable[..., SampleOrder], train: TokenSplit
) -> None:
    mixed = order(**MIXED)
    samples = 40 * SEQUENCES
    sources = np.searchsorted(mixed.source_boundaries, mixed.starts(0, samples), side="right") - 1
    assert mixed.sources == ["gutenberg", "web", "wikipedia"]
    begins = [0, 20 * SEQUENCES, 32 * SEQUENCES, samples]
    shares = [np.bincount(sources[a:b], minlength=3) / (b - a) for a, b in itertools.pairwise(begins)]
    np.testing.assert_allclose(shares[0], [0.75, 0, 0.25], atol=1 / 160)
    np.testing.assert_allclose(shares[1], [0, 0, 1])
    np.testing.assert_allclose(shares[2], [0.3, 0, 0.7], atol=1 / 64)
    windows = mixed.ranges[2].per_epoch
    starts = mixed.starts(0, samples)[sources == 2]
    assert len(set(starts[:windows])) == windows, "no window of a source comes twice before all came once"


def test_a_curriculum_may_begin_in_proportion_to_tokens(order: Callable[..., SampleOrder], train: TokenSplit) -> None:
    anneal = [{"from_fraction": 0.9, "mixture": {"wikipedia": 1}}]
    counts = order(**{"pretrain.steps": 400, "pretrain.phases": anneal}).tokens(0, 360 * SEQUENCES)
    shares = np.array([source["tokens"] for source in train.sources.values()]) / len(train)
    np.testing.assert_allclose(counts / counts.sum(), shares, atol=1 / (360 * SEQUENCES) + 1 / MAX_CYCLE_SAMPLES)


@pytest.mark.parametrize("changes", [{}, MIXED])
def test_the_tokens_that_are_counted_are_those_that_are_read(
    order: Callable[..., SampleOrder], train: TokenSplit, changes: dict[str, Any]
) -> None:
    """Every token is replaced by the number of its source; what is read is then counted by hand. More than an epoch."""
    made = order(**changes)
    source_of = np.repeat(np.arange(3), [source["tokens"] for source in train.sources.values()])
    read = np.zeros(3, np.int64)
    for step in range(40):
        starts = made.starts(step * SEQUENCES, SEQUENCES)
        windows = starts[:, None] + np.arange(CONTEXT)
        read += np.bincount(source_of[windows].ravel(), minlength=3)
        assert made.tokens(0, (step + 1) * SEQUENCES).tolist() == read.tolist()
        assert read_windows(train, starts, CONTEXT)[:, :-1].tolist() == train[:][windows].tolist()
    assert read.sum() == 40 * SEQUENCES * CONTEXT > len(train)


def test_any_part_of_the_order_is_the_same(order: Callable[..., SampleOrder]) -> None:
    mixed = order(**MIXED)
    whole = mixed.starts(0, 320)
    for ranks in (1, 2, 8):
        each = SEQUENCES // ranks
        parts = [mixed.starts(at, each) for at in range(0, 320, each)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_a_source_that_cannot_be_read_is_named(train: TokenSplit, tiny: Callable[..., Settings]) -> None:
    long = {"model.context": 256, "pretrain.batch_tokens": 2048, "pretrain.mixture": {"gutenberg": 1}}
    with pytest.raises(DataError, match=r"has 387 tokens of gutenberg; model.context\(256\) needs at least 513"):
        SampleOrder(train, tiny(**long))
    without = dataclasses.replace(train, sources={"gutenberg": train.sources["gutenberg"]})
    with pytest.raises(DataError, match=r"has 0 tokens of wikipedia.*it has text of: gutenberg"):
        SampleOrder(without, tiny(**MIXED))
