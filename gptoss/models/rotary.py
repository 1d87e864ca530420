"""Rotary positions (Su et al. 2021) and their scaling to longer contexts, numerically as transformers computes them.

Shape suffixes are explained in `layers.py`; R is the rotated width of a head, R <= E.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from gptoss.config.model import ModelConfig
from gptoss.models.architecture import architecture


def rope_parameters(config: ModelConfig) -> dict[str, Any]:
    """`rope_parameters` of a stock configuration."""
    scaling = config.rope_scaling.model_dump(exclude_none=True) if config.rope_scaling else {}
    fraction = architecture(config.architecture).ROTARY_FRACTION
    partial = {} if fraction == 1 else {"partial_rotary_factor": fraction}
    return {"rope_theta": config.rope_theta, "rope_type": scaling.pop("type", "default"), **partial, **scaling}


def inverse_frequencies(config: ModelConfig, device: torch.device) -> tuple[Tensor, float]:
    """Radians per position of each rotated pair, float32 `(R / 2,)`, and YaRN's factor on sines and cosines."""
    if config.rope_scaling is None:
        width = int(config.head_dim * architecture(config.architecture).ROTARY_FRACTION)
        return 1.0 / (config.rope_theta ** (torch.arange(0, width, 2).float().to(device) / width)), 1.0
    # The scaling rules come from the library that readers will load the published model with, so they cannot differ.
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    stock = LlamaConfig(
        hidden_size=config.hidden_size, num_attention_heads=config.heads, head_dim=config.head_dim,
        max_position_embeddings=config.context, rope_parameters=rope_parameters(config),
    )  # fmt: skip
    frequencies, factor = ROPE_INIT_FUNCTIONS[config.rope_scaling.type](stock, device)
    return frequencies, float(factor)


@functools.lru_cache(maxsize=4)  # training and evaluation, in two precisions
def rotary_table(
    config: ModelConfig, positions: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(T, R)` of positions 0 … T - 1."""
    frequencies, factor = inverse_frequencies(config, device)
    # Angles in float32: float16 has no integers above 2048 and would merge neighbouring positions.
    angles = torch.outer(torch.arange(positions, device=device).float(), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)


class RotaryFunction(torch.autograd.Function):  # type: ignore[misc]
    """Rotation of all pairs. The derivative is the inverse rotation; autograd would build it from padded slices."""

    @staticmethod
    def forward(ctx: Any, x_BHTR: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x_BHTR, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad_BHTR: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotate(grad_BHTR, cos, -sin), None, None


def _rotate(x_BHTR: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x_BHTR.shape[-1] // 2
    sin = sin[..., :half]
    # In halves and in place: two temporaries of half the width instead of a full-width rotate_half.
    rotated_BHTR = x_BHTR * cos
    rotated_BHTR[..., :half] -= x_BHTR[..., half:] * sin
    rotated_BHTR[..., half:] += x_BHTR[..., :half] * sin
    return rotated_BHTR


def apply_rotary(x_BHTE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair `(i, i + R / 2)` of the first R elements by its position's angle; R is the width of `cos`."""
    width = cos.shape[-1]
    rotated_BHTR: Tensor = RotaryFunction.apply(x_BHTE[..., :width], cos, sin)
    return torch.cat((rotated_BHTR, x_BHTE[..., width:]), dim=-1) if width < x_BHTE.shape[-1] else rotated_BHTR
