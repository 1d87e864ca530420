"""Causal language modelling: predict each token from those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gptoss.train.objectives import Integers

if TYPE_CHECKING:
    from gptoss.config.settings import Settings


def examples(windows: Integers, samples: Integers, settings: Settings) -> tuple[Integers, Integers]:
    """Inputs and targets `(N, T)`: the window without its last token, and without its first."""
    # Views; the caller makes them contiguous once, when it copies them into tensors.
    return windows[:, :-1], windows[:, 1:]
