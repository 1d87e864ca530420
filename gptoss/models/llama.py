"""Llama (Touvron et al. 2023, section 2.2), published as `LlamaForCausalLM`.

Pre-normalisation by RMSNorm (Zhang and Sennrich 2019), SwiGLU (Shazeer 2020), rotary positions (Su et al. 2021),
grouped-query attention (Ainslie et al. 2023), no biases.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptoss.config.model import ModelConfig
from gptoss.models.attention import causal_attention
from gptoss.models.layers import Linear, Names, Positions
from gptoss.models.precision import linear, local_shard, master_dtype
from gptoss.models.rotary import rotate

STOCK_CLASS = "LlamaForCausalLM"
DESCRIPTION = "RMSNorm, SwiGLU, rotary positions, grouped-query attention"
NAMES = Names("model", "embed_tokens", "norm", residual=("o_proj.weight", "down_proj.weight"))
ROTARY_FRACTION = 1.0
"""Part of each head that is rotated."""


class RMSNorm(nn.Module):  # type: ignore[misc]
    """Root-mean-square normalisation, computed in at least float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = Normalised.apply(x, local_shard(self.weight), self.eps)
        return normalised


class Normalised(torch.autograd.Function):  # type: ignore[misc]
    """`weight * x / rms(x)`: keeps `x` and one number a row, where autograd would keep four tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        wide = x.to(master_dtype(x.dtype))
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight_D, scale)
        return weight_D * (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_D, scale = ctx.saved_tensors
        grad, weight = grad.to(scale.dtype), weight_D.to(scale.dtype)
        normalised = x.to(scale.dtype) * scale
        of_weight = grad * normalised
        along = (of_weight @ weight).unsqueeze(-1) / len(weight)
        of_x = (grad * weight).addcmul_(normalised, along, value=-1).mul_(scale)
        return of_x.to(x.dtype), of_weight.flatten(0, -2).sum(0).to(weight_D.dtype), None


class Attention(nn.Module):  # type: ignore[misc]
    """Causal grouped-query self-attention with rotary positions."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.q_proj = Linear(shape.hidden_size, shape.heads * shape.head_dim)
        self.k_proj = Linear(shape.hidden_size, shape.kv_heads * shape.head_dim)
        self.v_proj = Linear(shape.hidden_size, shape.kv_heads * shape.head_dim)
        self.o_proj = Linear(shape.heads * shape.head_dim, shape.hidden_size)

    def forward(self, x_BTD: Tensor, at: Positions) -> Tensor:
        by_head = (*x_BTD.shape[:2], -1, self.head_dim)
        weights = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        q_BHTE, k_BKTE, v_BKTE = (y.view(by_head).transpose(1, 2) for y in linear(x_BTD, *weights))
        q_BHTE, k_BKTE = rotate(q_BHTE, at.cos, at.sin), rotate(k_BKTE, at.cos, at.sin)
        mixed_BHTE = causal_attention(q_BHTE, k_BKTE, v_BKTE, at.mask)
        return self.o_proj(mixed_BHTE.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):  # type: ignore[misc]
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden_size, shape.ffn_size)
        self.up_proj = Linear(shape.hidden_size, shape.ffn_size)
        self.down_proj = Linear(shape.ffn_size, shape.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = linear(x_BTD, self.gate_proj.weight, self.up_proj.weight)
        return self.down_proj(F.silu(gate_BTF) * up_BTF)


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then feed-forward, each normalised before and added to the residual stream."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = norm(shape)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = norm(shape)
        self.mlp = FeedForward(shape)

    def forward(self, x_BTD: Tensor, at: Positions) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), at)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


def norm(shape: ModelConfig) -> RMSNorm:
    """The normalisation this architecture uses."""
    return RMSNorm(shape.hidden_size, shape.norm_eps)


def stock_config(shape: ModelConfig) -> dict[str, Any]:
    """What only a Llama's `config.json` says."""
    return {
        "attention_bias": False,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "mlp_bias": False,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.norm_eps,
    }
