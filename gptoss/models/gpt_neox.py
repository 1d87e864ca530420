"""GPT-NeoX (Black et al. 2022, section 2.1), published as `GPTNeoXForCausalLM`.

Attention and feed-forward in parallel on the same residual stream, LayerNorm and matrices with biases, GELU, one
matrix for queries, keys and values, rotary positions on the first quarter of each head. Shape suffixes are explained in
`layers.py`.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from gptoss.config.model import ModelConfig
from gptoss.models.attention import causal_attention
from gptoss.models.layers import Linear, ModuleNames, Positions
from gptoss.models.rotary import apply_rotary

STOCK_CLASS = "GPTNeoXForCausalLM"
DESCRIPTION = "LayerNorm, GELU, rotary positions, parallel attention and feed-forward"
NAMES = ModuleNames("gpt_neox", "embed_in", "final_layer_norm", residual=("dense.weight", "dense_4h_to_h.weight"))
ROTARY_FRACTION = 0.25


class Attention(nn.Module):  # type: ignore[misc]
    """Causal multi-head self-attention with rotary positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        # Rows are ordered by head, then query, key, value: the layout of the stock class.
        self.query_key_value = Linear(config.hidden_size, 3 * config.hidden_size, bias=True)
        # Biases follow `attention_bias` of the stock configuration below.
        self.dense = Linear(config.hidden_size, config.hidden_size, bias=True)

    def forward(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        heads_shape = (*x_BTD.shape[:2], -1, 3 * self.head_dim)
        q_BHTE, k_BHTE, v_BHTE = self.query_key_value(x_BTD).view(heads_shape).transpose(1, 2).chunk(3, dim=-1)
        q_BHTE, k_BHTE = (apply_rotary(y, positions.cos, positions.sin) for y in (q_BHTE, k_BHTE))
        mixed_BHTE = causal_attention(q_BHTE, k_BHTE, v_BHTE, positions.mask)
        return self.dense(mixed_BHTE.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):  # type: ignore[misc]
    """`dense_4h_to_h(gelu(dense_h_to_4h(x)))`, with the exact GELU (Hendrycks and Gimpel 2016)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = Linear(config.hidden_size, config.ffn_size, bias=True)
        self.dense_4h_to_h = Linear(config.ffn_size, config.hidden_size, bias=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x_BTD)))


class Layer(nn.Module):  # type: ignore[misc]
    """Attention and feed-forward in parallel, each with its own normalisation of the same input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = norm(config)
        self.post_attention_layernorm = norm(config)
        self.attention = Attention(config)
        self.mlp = FeedForward(config)

    def forward(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        attention_BTD = self.attention(self.input_layernorm(x_BTD), positions)
        # The stock class adds in this order; floating-point addition is not associative.
        return self.mlp(self.post_attention_layernorm(x_BTD)) + attention_BTD + x_BTD


def norm(config: ModelConfig) -> nn.LayerNorm:
    """The normalisation of this architecture, with gain and bias (Ba et al. 2016)."""
    return nn.LayerNorm(config.hidden_size, config.norm_eps)


def stock_config(config: ModelConfig) -> dict[str, Any]:
    """Entries of `config.json` that only GPT-NeoX has."""
    return {
        "attention_bias": True,
        "hidden_act": "gelu",
        "layer_norm_eps": config.norm_eps,
        "use_parallel_residual": True,
    }
