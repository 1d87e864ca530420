"""Building blocks shared by the layers of every architecture.

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
class ModuleNames:
    """Names of a stock class's modules around its layers."""

    trunk: str
    """`base_model_prefix`: everything but the output head."""
    embedding: str
    norm: str
    residual: tuple[str, ...]
    """Suffixes of the matrices that write to the residual stream; their initial values are smaller."""


class Positions(NamedTuple):
    """Rotary tables and mask of a batch, computed once and used by all layers."""

    cos: Tensor
    sin: Tensor
    """`(T, E)`, or `(B, 1, T, E)` with positions per sequence; E may be only the rotated part of a head."""
    mask: Mask | None
    """Which positions each position attends to; None: all up to itself."""


class Linear(nn.Module):  # type: ignore[misc]
    """A weight matrix `(outputs, inputs)` with an optional bias `(outputs,)`, uninitialised."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        # Uninitialised: `decoder.initial_value` defines all values, after sharding, on any mesh.
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, bias=self.bias)[0]


class Embedding(nn.Module):  # type: ignore[misc]
    """An embedding table `(rows, width)`, uninitialised."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return embedding(tokens_BT, self.weight)
