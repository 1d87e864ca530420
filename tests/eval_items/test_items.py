"""Samples of items are even."""

from __future__ import annotations

from gptoss.eval_items.items import spread


def test_spread_is_even_ascending_and_complete() -> None:
    assert spread(10, 5) == [0, 2, 4, 6, 8]
    assert spread(3, 20) == spread(3, None) == [0, 1, 2]
    chosen = spread(14_042, 20)
    assert len(set(chosen)) == 20 and chosen == sorted(chosen) and chosen[-1] < 14_042
