"""Causal attention, within documents where asked for, by the precision policy of `precision.py`."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from gptoss.models.precision import device_kind, upcasts
from gptoss.models.short_attention import ShortAttention, is_short

Mask: TypeAlias = Tensor | BlockMask


def causal_attention(q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor, mask: Mask | None = None) -> Tensor:
    """Scaled dot-product attention `(B, H, T, E)` with grouped keys and values. `mask` says what each position sees;
    None: all up to itself."""
    dtype = q_BHTE.dtype
    if upcasts(q_BHTE):
        q_BHTE, k_BKTE, v_BKTE = q_BHTE.float(), k_BKTE.float(), v_BKTE.float()
    grouped = q_BHTE.shape[1] != k_BKTE.shape[1]
    if isinstance(mask, BlockMask):
        mixed_BHTE: Tensor = _flex(q_BHTE.device.type)(q_BHTE, k_BKTE, v_BKTE, block_mask=mask, enable_gqa=grouped)
        return mixed_BHTE.to(dtype)
    if mask is None and device_kind(q_BHTE) == "cpu" and torch.is_grad_enabled() and is_short(q_BHTE):
        short_BHTE: Tensor = ShortAttention.apply(q_BHTE, k_BKTE, v_BKTE)
        return short_BHTE.to(dtype)
    return F.scaled_dot_product_attention(
        q_BHTE, k_BKTE, v_BKTE, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    ).to(dtype)


def document_mask(positions_BT: Tensor, *, blocks: bool) -> Mask:
    """What each position sees: its own document, up to itself. `positions` start at 0 in each document.

    As blocks for FlexAttention (Dong et al. 2024), which skips what no position sees; without, a dense mask
    `(B, 1, T, T)`: FlexAttention has no backward pass on CPUs, and the dense mask costs no time there.
    """
    documents_BT = (positions_BT == 0).cumsum(1)
    size, length = positions_BT.shape
    if blocks:

        def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (documents_BT[b, q] == documents_BT[b, k]) & (q >= k)

        of_blocks: Mask = create_block_mask(sees, size, None, length, length, device=positions_BT.device)
        return of_blocks
    before_TT = torch.ones(length, length, dtype=torch.bool, device=positions_BT.device).tril()
    dense: Mask = ((documents_BT[:, :, None] == documents_BT[:, None, :]) & before_TT)[:, None]
    return dense


def document_positions(tokens_BT: Tensor, separator: int) -> Tensor:
    """Position of each token in its document, int64 `(B, T)`. A document starts with its separator; the first one of
    a window may be the rest of a longer one, and counts from the window's start."""
    index_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    starts_BT = torch.where(tokens_BT == separator, index_T, 0).cummax(1).values
    return index_T - starts_BT


@functools.cache
def _flex(device: str) -> Any:
    """Uncompiled, FlexAttention would hold all scores."""
    return torch.compile(flex_attention) if device == "cuda" else flex_attention
