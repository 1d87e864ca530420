"""GPT-NeoX (Black et al. 2022, section 2.1), published as `GPTNeoXForCausalLM`.

Attention and feed-forward in parallel on the same residual stream, LayerNorm and matrices with biases, GELU, one
matrix for queries, keys and values, rotary positions on the first quarter of each head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptoss.config.model import ModelConfig
from gptoss.models.attention import causal_attention
from gptoss.models.layers import Linear, Names, Positions
from gptoss.models.rotary import rotate

STOCK_CLASS = "GPTNeoXForCausalLM"
DESCRIPTION = "LayerNorm, GELU, rotary positions, parallel attention and feed-forward"
NAMES = Names("gpt_neox", "embed_in", "final_layer_norm", residual=("dense.weight", "dense_4h_to_h.weight"))
ROTARY_FRACTION = 0.25
"""Part of each head that is rotated."""


class LayerNorm(nn.Module):  # type: ignore[misc]
    """Layer normalisation with gain and bias (Ba et al. 2016)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(width)), nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Attention(nn.Module):  # type: ignore[misc]
    """Causal multi-head self-attention; rows of the matrix are ordered by head, then query, key, value."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.query_key_value = Linear(shape.hidden_size, 3 * shape.hidden_size, bias=True)
        self.dense = Linear(shape.hidden_size, shape.hidden_size, bias=True)

    def forward(self, x_BTD: Tensor, at: Positions) -> Tensor:
        by_head = (*x_BTD.shape[:2], -1, 3 * self.head_dim)
        q_BHTE, k_BHTE, v_BHTE = self.query_key_value(x_BTD).view(by_head).transpose(1, 2).chunk(3, dim=-1)
        q_BHTE, k_BHTE = rotate(q_BHTE, at.cos, at.sin), rotate(k_BHTE, at.cos, at.sin)
        mixed_BHTE = causal_attention(q_BHTE, k_BHTE, v_BHTE, at.mask)
        return self.dense(mixed_BHTE.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):  # type: ignore[misc]
    """`dense_4h_to_h(gelu(dense_h_to_4h(x)))`, with the exact GELU (Hendrycks and Gimpel 2016)."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = Linear(shape.hidden_size, shape.ffn_size, bias=True)
        self.dense_4h_to_h = Linear(shape.ffn_size, shape.hidden_size, bias=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x_BTD)))


class Layer(nn.Module):  # type: ignore[misc]
    """Attention and feed-forward side by side, each with its own normalisation of the same input."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = norm(shape)
        self.post_attention_layernorm = norm(shape)
        self.attention = Attention(shape)
        self.mlp = FeedForward(shape)

    def forward(self, x_BTD: Tensor, at: Positions) -> Tensor:
        attention_BTD = self.attention(self.input_layernorm(x_BTD), at)
        return self.mlp(self.post_attention_layernorm(x_BTD)) + attention_BTD + x_BTD


def norm(shape: ModelConfig) -> LayerNorm:
    """The normalisation this architecture uses."""
    return LayerNorm(shape.hidden_size, shape.norm_eps)


def stock_config(shape: ModelConfig) -> dict[str, Any]:
    """What only a GPT-NeoX's `config.json` says."""
    return {
        "attention_bias": True,
        "hidden_act": "gelu",
        "layer_norm_eps": shape.norm_eps,
        "use_parallel_residual": True,
    }
