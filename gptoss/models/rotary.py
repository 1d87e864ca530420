"""Rotary positions (Su et al. 2021) and their scaling to longer contexts, as transformers computes them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from gptoss.config.model import ModelConfig
from gptoss.models.architecture import architecture


def rope_parameters(shape: ModelConfig) -> dict[str, Any]:
    """`rope_parameters` of a stock configuration."""
    scaling = shape.rope_scaling.model_dump(exclude_none=True) if shape.rope_scaling else {}
    fraction = architecture(shape.architecture).ROTARY_FRACTION
    partial = {} if fraction == 1 else {"partial_rotary_factor": fraction}
    return {"rope_theta": shape.rope_theta, "rope_type": scaling.pop("type", "default"), **partial, **scaling}


def frequencies(shape: ModelConfig, device: torch.device) -> tuple[Tensor, float]:
    """Radians a position of each rotated pair, float32, and the factor on sines and cosines that YaRN wants."""
    if shape.rope_scaling is None:
        width = int(shape.head_dim * architecture(shape.architecture).ROTARY_FRACTION)
        return 1.0 / (shape.rope_theta ** (torch.arange(0, width, 2).float().to(device) / width)), 1.0
    # The rules of scaling are taken from the library that everyone will read the published model with.
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(
        hidden_size=shape.hidden_size, num_attention_heads=shape.heads, head_dim=shape.head_dim,
        max_position_embeddings=shape.context, rope_parameters=rope_parameters(shape),
    )  # fmt: skip
    found, factor = ROPE_INIT_FUNCTIONS[shape.rope_scaling.type](config, device)
    return found, float(factor)


@functools.lru_cache(maxsize=4)
def rotary_table(shape: ModelConfig, positions: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(T, E)` of positions 0 … T - 1: angles in float32, then rounded to `dtype`."""
    each, factor = frequencies(shape, device)
    angles = torch.outer(torch.arange(positions, device=device).float(), each)
    angles = torch.cat((angles, angles), dim=-1)
    return (angles.cos() * factor).to(dtype), (angles.sin() * factor).to(dtype)


class Rotation(torch.autograd.Function):  # type: ignore[misc]
    """Rotation of all pairs. Its derivative is the rotation back, which autograd would assemble from padded slices."""

    @staticmethod
    def forward(ctx: Any, x_BHTE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x_BHTE, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad_BHTE: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad_BHTE, cos, -sin), None, None


def _rotated(x_BHTE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x_BHTE.shape[-1] // 2
    sin = sin[..., :half]
    rotated = x_BHTE * cos
    rotated[..., :half] -= x_BHTE[..., half:] * sin
    rotated[..., half:] += x_BHTE[..., :half] * sin
    return rotated


def rotate(x_BHTE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair `(i, i + R/2)` of the first R elements by its position's angle; R is the width of `cos`."""
    width = cos.shape[-1]
    rotated: Tensor = Rotation.apply(x_BHTE[..., :width], cos, sin)
    return torch.cat((rotated, x_BHTE[..., width:]), dim=-1) if width < x_BHTE.shape[-1] else rotated
