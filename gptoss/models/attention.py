"""Causal attention, optionally within documents, in the precision policy of `precision.py`.

Shape suffixes are explained in `layers.py`.
"""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from gptoss.models.precision import device_type, upcasts
from gptoss.models.short_attention import ShortAttention, is_short

Mask: TypeAlias = Tensor | BlockMask


def causal_attention(q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor, mask: Mask | None = None) -> Tensor:
    """Scaled dot-product attention `(B, H, T, E)` with grouped keys and values. `mask` says which positions each
    position attends to; None: all up to itself."""
    dtype = q_BHTE.dtype
    if upcasts(q_BHTE):
        # As for matrix products, see `precision.py`. GPU kernels compute the softmax in float32 as well.
        q_BHTE, k_BKTE, v_BKTE = q_BHTE.float(), k_BKTE.float(), v_BKTE.float()
    grouped = q_BHTE.shape[1] != k_BKTE.shape[1]
    mixed_BHTE: Tensor
    if isinstance(mask, BlockMask):
        mixed_BHTE = _flex_attention(q_BHTE.device.type)(q_BHTE, k_BKTE, v_BKTE, block_mask=mask, enable_gqa=grouped)
    # Only in training: without a backward pass PyTorch's kernel is the faster one, and keeps no probabilities.
    elif mask is None and device_type(q_BHTE) == "cpu" and torch.is_grad_enabled() and is_short(q_BHTE):
        mixed_BHTE = ShortAttention.apply(q_BHTE, k_BKTE, v_BKTE)
    else:
        mixed_BHTE = F.scaled_dot_product_attention(
            q_BHTE, k_BKTE, v_BKTE, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
        )
    return mixed_BHTE.to(dtype)


def document_mask(position_ids_BT: Tensor, *, blocks: bool) -> Mask:
    """Mask in which each position attends to its own document, up to itself. `position_ids` start at 0 in each
    document.

    With `blocks`, a block mask for FlexAttention (Dong et al. 2024), which skips invisible blocks. Otherwise a dense
    mask `(B, 1, T, T)`: FlexAttention has no backward pass on CPUs, where a dense mask takes no longer than causal
    attention.
    """
    documents_BT = (position_ids_BT == 0).cumsum(1)
    batch, length = position_ids_BT.shape
    if blocks:

        def is_visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (documents_BT[b, q] == documents_BT[b, k]) & (q >= k)

        block_mask: Mask = create_block_mask(is_visible, batch, None, length, length, device=position_ids_BT.device)
        return block_mask
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=position_ids_BT.device).tril()
    dense: Mask = ((documents_BT[:, :, None] == documents_BT[:, None, :]) & causal_TT)[:, None]
    return dense


def document_position_ids(tokens_BT: Tensor, separator: int) -> Tensor:
    """Position of each token in its document, int64 `(B, T)`. A document starts with its separator. The first one in a
    window may be the rest of a longer one, and is counted from the start of the window."""
    index_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    # Running maximum of separator positions: the last document start at or before each token.
    starts_BT = torch.where(tokens_BT == separator, index_T, 0).cummax(1).values
    return index_T - starts_BT


@functools.cache
def _flex_attention(device: str) -> Any:
    # Uncompiled, FlexAttention materialises all scores.
    return torch.compile(flex_attention) if device == "cuda" else flex_attention
