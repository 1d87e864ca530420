"""Which layers each pipeline stage gets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gptoss.config.settings import Settings
from gptoss.train.stage_assignment import split_layers

VOCABULARY = 320


@pytest.mark.parametrize("stages", [1, 2, 3, 7, 48])
def test_layers_are_split_without_gap_and_evenly(tiny: Callable[..., Settings], stages: int) -> None:
    shape = tiny(**{"model.layers": 48}).model  # the head costs as much as two layers
    parts = split_layers(shape, VOCABULARY, stages)
    assert [layer for part in parts for layer in part] == list(range(48))
    assert len(parts) == stages and min(map(len, parts)) >= 1
    assert max(map(len, parts[:-1]), default=0) - min(map(len, parts[:-1]), default=0) <= 1
    assert len(parts[-1]) <= max(map(len, parts))


def test_a_large_head_takes_layers_off_the_last_stage(tiny: Callable[..., Settings]) -> None:
    shape = tiny(**{"model.layers": 8}).model
    layer = shape.hidden_size * (2 * shape.hidden_size + 32 + 3 * shape.ffn_size) + 16 * shape.hidden_size
    assert [len(part) for part in split_layers(shape, 2 * layer // shape.hidden_size, 2)] == [5, 3]
