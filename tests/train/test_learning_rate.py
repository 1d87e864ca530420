"""Learning rate schedules: golden values, and properties of every schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from gptoss.config.settings import Settings
from gptoss.train.learning_rate import learning_rate

BASE = {
    "pretrain.steps": 100, "pretrain.warmup_steps": 10, "pretrain.learning_rate": 1.0,
    "pretrain.final_learning_rate_fraction": 0.1, "pretrain.decay_fraction": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "decay", "expected"),
    [
        ("cosine", "linear", {1: 0.1, 10: 1.0, 40: 0.775, 55: 0.55, 100: 0.1}),
        ("wsd", "linear", {1: 0.1, 10: 1.0, 11: 1.0, 80: 1.0, 81: 0.955, 90: 0.55, 100: 0.1}),
        ("wsd", "1-sqrt", {10: 1.0, 80: 1.0, 81: 1 - 0.9 * math.sqrt(0.05), 85: 0.55, 100: 0.1}),
    ],
)
def test_golden_values(
    settings_with: Callable[..., Settings], schedule: str, decay: str, expected: dict[int, float]
) -> None:
    pretrain = settings_with(**BASE, **{"pretrain.schedule": schedule, "pretrain.decay": decay}).pretrain
    assert {step: learning_rate(step, pretrain) for step in expected} == pytest.approx(expected, abs=1e-12)
    rates = [learning_rate(step, pretrain) for step in range(1, 101)]
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_wsd_does_not_depend_on_the_number_of_steps_before_the_decay(settings_with: Callable[..., Settings]) -> None:
    """So that it can be continued from a checkpoint before the decay."""
    short, long = (
        settings_with(**BASE | {"pretrain.schedule": "wsd", "pretrain.steps": steps}).pretrain for steps in (100, 300)
    )
    assert [learning_rate(step, short) for step in range(1, 81)] == [learning_rate(n, long) for n in range(1, 81)]


def test_no_warm_up_begins_at_the_peak(settings_with: Callable[..., Settings]) -> None:
    pretrain = settings_with(**BASE | {"pretrain.warmup_steps": 0, "pretrain.schedule": "wsd"}).pretrain
    assert learning_rate(1, pretrain) == 1.0
