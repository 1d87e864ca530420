"""What the layers of every architecture are made of.

Shape suffixes, here and in the architectures: B sequences, T positions, D hidden size, H query heads, K key-value
heads, E head width, F feed-forward width, V padded vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gptoss.models.attention import Mask
from gptoss.models.precision import embedding, linear


@dataclass(frozen=True)
class Names:
    """What a stock class calls the parts around its layers."""

    trunk: str
    embedding: str
    norm: str
    residual: tuple[str, ...]
    """Ends of the names of the matrices that write to the residual stream."""


class Positions(NamedTuple):
    """Where the tokens of a batch stand: the same for all layers."""

    cos: Tensor
    sin: Tensor
    """Rotations `(T, E)`, or `(B, 1, T, E)` where each sequence has its own positions; E may be a part of the head."""
    mask: Mask | None
    """What each position sees; None: all up to itself."""


class Linear(nn.Module):  # type: ignore[misc]
    """A weight matrix `(outputs, inputs)`, with a bias `(outputs,)` if asked for."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, bias=self.bias)[0]


class Embedding(nn.Module):  # type: ignore[misc]
    """A table `(rows, width)` looked up by token."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return embedding(tokens_BT, self.weight)
