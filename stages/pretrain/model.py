"""The decoder that is trained: the Llama architecture, one pipeline stage of it at a time.

Parameter names are those of Hugging Face's `LlamaForCausalLM` and layers are keyed by their global number, so a
checkpoint or an export of any pipeline stage needs no conversion table. Logits equal `LlamaForCausalLM`'s to the
last bit (tests/pretrain/test_model.py).

Architecture: Touvron et al. 2023 (LLaMA, section 2.2): pre-normalisation by RMSNorm (Zhang and Sennrich 2019), SwiGLU
(Shazeer 2020), rotary positions (Su et al. 2021); grouped-query attention by Ainslie et al. 2023; untied embeddings.

Shape suffixes: B sequences, T positions, D hidden size, H query heads, K key-value heads, E head width, F
feed-forward width, V padded vocabulary.
"""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.pretrain.precision import causal_attention, embedding, own, projections
from stages.settings import Model


class Linear(nn.Module):  # type: ignore[misc]
    """A weight matrix `(outputs, inputs)` without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return projections(x, self.weight)[0]


class Embedding(nn.Module):  # type: ignore[misc]
    """A table `(rows, width)` looked up by token."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return embedding(tokens_BT, self.weight)


class RMSNorm(nn.Module):  # type: ignore[misc]
    """Root-mean-square normalisation, computed in at least float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return own(self.weight) * wide.to(x.dtype)


class Attention(nn.Module):  # type: ignore[misc]
    """Causal grouped-query self-attention with rotary positions."""

    def __init__(self, shape: Model) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.q_proj = Linear(shape.hidden_size, shape.heads * shape.head_dim)
        self.k_proj = Linear(shape.hidden_size, shape.kv_heads * shape.head_dim)
        self.v_proj = Linear(shape.hidden_size, shape.kv_heads * shape.head_dim)
        self.o_proj = Linear(shape.heads * shape.head_dim, shape.hidden_size)

    def forward(self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
        by_head = (*x_BTD.shape[:2], -1, self.head_dim)
        weights = (self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)
        q_BHTE, k_BKTE, v_BKTE = (y.view(by_head).transpose(1, 2) for y in projections(x_BTD, *weights))
        q_BHTE, k_BKTE = rotate(q_BHTE, cos_TE, sin_TE), rotate(k_BKTE, cos_TE, sin_TE)
        mixed_BHTE = causal_attention(q_BHTE, k_BKTE, v_BKTE)
        return self.o_proj(mixed_BHTE.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):  # type: ignore[misc]
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    def __init__(self, shape: Model) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden_size, shape.ffn_size)
        self.up_proj = Linear(shape.hidden_size, shape.ffn_size)
        self.down_proj = Linear(shape.ffn_size, shape.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = projections(x_BTD, self.gate_proj.weight, self.up_proj.weight)
        return self.down_proj(F.silu(gate_BTF) * up_BTF)


class Layer(nn.Module):  # type: ignore[misc]
    """One decoder layer."""

    def __init__(self, shape: Model) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), cos_TE, sin_TE)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Decoder(nn.Module):  # type: ignore[misc]
    """The layers `layers` of the decoder; the first stage also embeds, the last one also predicts.

    Takes tokens `(B, T)` int64 in the first stage, activations `(B, T, D)` in the others; gives logits `(B, T, V)` in
    the last stage, activations in the others. With tensor parallelism, activations and logits are those of this
    rank's positions: `T / sequence_shards` of them.
    """

    def __init__(self, shape: Model, vocab_size: int, layers: range) -> None:
        super().__init__()
        self.shape = shape
        self.sequence_shards = 1
        self.first, self.last = layers.start == 0, layers.stop == shape.layers
        self.model = nn.Module()
        if self.first:
            self.model.embed_tokens = Embedding(vocab_size, shape.hidden_size)
        self.model.layers = nn.ModuleDict({str(number): Layer(shape) for number in layers})
        if self.last:
            self.model.norm = RMSNorm(shape.hidden_size, shape.norm_eps)
            self.lm_head = Linear(shape.hidden_size, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = self.model.embed_tokens(x)
        positions, shape = x.shape[1] * self.sequence_shards, self.shape
        cos_TE, sin_TE = rotary_table(positions, shape.head_dim, shape.rope_theta, x.device, x.dtype)
        for layer in self.model.layers.values():
            x = layer(x, cos_TE, sin_TE)
        return self.lm_head(self.model.norm(x)) if self.last else x


@functools.lru_cache(maxsize=4)
def rotary_table(
    positions: int, width: int, theta: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(T, E)`: angles in float32 as in `LlamaForCausalLM`, then rounded to `dtype`."""
    frequencies = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.int64).float().to(device) / width))
    angles = torch.outer(torch.arange(positions, device=device).float(), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """Rotate each pair `(i, i + E/2)` by its position's angle."""
    half = x_BHTE.shape[-1] // 2
    turned = torch.cat((-x_BHTE[..., half:], x_BHTE[..., :half]), dim=-1)
    return x_BHTE * cos_TE + turned * sin_TE


def initial_value(name: str, size: torch.Size, shape: Model, seed: int) -> Tensor:
    """The first value of a parameter, float32 on the CPU: a pure function of the seed and its name.

    Norms start at one; matrices at N(0, 2 / (5 D)) (Nguyen and Salazar 2019), those that write to the residual stream
    divided by sqrt(2 layers) (Radford et al. 2019, section 2.3).
    """
    if len(size) == 1:
        return torch.ones(size)
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    std = math.sqrt(2 / (5 * shape.hidden_size))
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        std /= math.sqrt(2 * shape.layers)
    return torch.randn(size, generator=generator).mul_(std)


def hugging_face_config(shape: Model, vocab_size: int, *, bos: int = 0, eos: int = 0) -> dict[str, Any]:
    """`config.json` of a stock `LlamaForCausalLM` for these weights."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": bos,
        "dtype": "float32",
        "eos_token_id": eos,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "initializer_range": round(math.sqrt(2 / (5 * shape.hidden_size)), 6),
        "intermediate_size": shape.ffn_size,
        "max_position_embeddings": shape.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": 1,
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": vocab_size,
    }
