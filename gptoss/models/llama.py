"""Llama (Touvron et al. 2023, section 2.2), published as `LlamaForCausalLM`.

Pre-normalisation by RMSNorm (Zhang and Sennrich 2019), SwiGLU (Shazeer 2020), rotary positions (Su et al. 2021),
grouped-query attention (Ainslie et al. 2023), no biases. Shape suffixes are explained in `layers.py`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptoss.config.model import ModelConfig
from gptoss.models.attention import causal_attention
from gptoss.models.layers import Linear, ModuleNames, Positions
from gptoss.models.precision import linear, local_shard, master_dtype
from gptoss.models.rotary import apply_rotary

STOCK_CLASS = "LlamaForCausalLM"
DESCRIPTION = "RMSNorm, SwiGLU, rotary positions, grouped-query attention"
NAMES = ModuleNames("model", "embed_tokens", "norm", residual=("o_proj.weight", "down_proj.weight"))
ROTARY_FRACTION = 1.0


class RMSNorm(nn.Module):  # type: ignore[misc]
    """Root-mean-square normalisation, computed in at least float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = RMSNormFunction.apply(x, local_shard(self.weight), self.eps)
        return normalised


class RMSNormFunction(torch.autograd.Function):  # type: ignore[misc]
    """`weight * x / rms(x)`: saves `x` and one number per row, where autograd would save four tensors."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        upcast_BTD = x_BTD.to(master_dtype(x_BTD.dtype))
        inverse_rms_BT1 = torch.rsqrt(upcast_BTD.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x_BTD, weight_D, inverse_rms_BT1)
        # Rounded before the product with the weight, as LlamaRMSNorm does: logits must be bitwise equal.
        return weight_D * (upcast_BTD * inverse_rms_BT1).to(x_BTD.dtype)

    @staticmethod
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor | None, ...]:
        # With n = x / rms(x):  dw = sum(g n),  dx = (g w - n mean(g w n)) / rms(x)
        x_BTD, weight_D, inverse_rms_BT1 = ctx.saved_tensors
        grad_BTD, upcast_D = grad_BTD.to(inverse_rms_BT1.dtype), weight_D.to(inverse_rms_BT1.dtype)
        normalised_BTD = x_BTD.to(inverse_rms_BT1.dtype) * inverse_rms_BT1
        grad_weight_BTD = grad_BTD * normalised_BTD
        mean_BT1 = (grad_weight_BTD @ upcast_D).unsqueeze(-1) / len(upcast_D)
        grad_x_BTD = (grad_BTD * upcast_D).addcmul_(normalised_BTD, mean_BT1, value=-1).mul_(inverse_rms_BT1)
        return grad_x_BTD.to(x_BTD.dtype), grad_weight_BTD.flatten(0, -2).sum(0).to(weight_D.dtype), None


class Attention(nn.Module):  # type: ignore[misc]
    """Causal grouped-query self-attention with rotary positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = Linear(config.hidden_size, config.heads * config.head_dim)
        self.k_proj = Linear(config.hidden_size, config.kv_heads * config.head_dim)
        self.v_proj = Linear(config.hidden_size, config.kv_heads * config.head_dim)
        self.o_proj = Linear(config.heads * config.head_dim, config.hidden_size)

    def forward(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        heads_shape = (*x_BTD.shape[:2], -1, self.head_dim)
        # One call for three matrices: on a CPU in half precision the input is upcast once, see `precision.py`.
        projections = linear(x_BTD, self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        q_BHTE, k_BKTE, v_BKTE = (y.view(heads_shape).transpose(1, 2) for y in projections)
        q_BHTE, k_BKTE = (apply_rotary(y, positions.cos, positions.sin) for y in (q_BHTE, k_BKTE))
        mixed_BHTE = causal_attention(q_BHTE, k_BKTE, v_BKTE, positions.mask)
        return self.o_proj(mixed_BHTE.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):  # type: ignore[misc]
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.ffn_size)
        self.up_proj = Linear(config.hidden_size, config.ffn_size)
        self.down_proj = Linear(config.ffn_size, config.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = linear(x_BTD, self.gate_proj.weight, self.up_proj.weight)
        return self.down_proj(F.silu(gate_BTF) * up_BTF)


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then feed-forward; the input of each is normalised, its output added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = norm(config)
        self.mlp = FeedForward(config)

    def forward(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), positions)
        # Pre-normalisation: the residual stream itself is never normalised, only what each block reads of it.
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


def norm(config: ModelConfig) -> RMSNorm:
    """The normalisation of this architecture."""
    return RMSNorm(config.hidden_size, config.norm_eps)


def stock_config(config: ModelConfig) -> dict[str, Any]:
    """Entries of `config.json` that only Llama has."""
    return {
        "attention_bias": False,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "mlp_bias": False,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_eps,
    }
