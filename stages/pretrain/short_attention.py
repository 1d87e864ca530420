"""Causal attention of short contexts on a CPU, with a backward pass in matrix products.

PyTorch's kernel for CPUs goes through the keys of one head at a time; with heads of 32 or 64 its products are small and
its backward pass reaches a fifth of the processor's speed. Here all heads' rows of 32 positions meet all keys before
them in one batched product; `python benchmarks/pretrain.py` shows the effect. Shape suffixes as in `layers.py`; N is
B * K, R the rows of a block, S its query rows: R for each of the H / K heads that share a key.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

ROWS = 32
LONGEST = 1024
"""Beyond it the products are so wide that nothing is gained."""


def is_short(q_BHTE: Tensor) -> bool:
    """Whether the backward pass of this module is the faster one."""
    length = q_BHTE.shape[2]
    return length <= LONGEST and length % ROWS == 0 and q_BHTE.dtype in (torch.float32, torch.float64)


class ShortAttention(torch.autograd.Function):  # type: ignore[misc]
    """`(q (B, H, T, E), k (B, K, T, E), v (B, K, T, E))` to `(B, H, T, E)`: the forward pass of PyTorch, bit for bit.

    The backward pass is that of FlashAttention (Dao et al. 2022, algorithm 4): probabilities are computed again from
    the row's log-sum-exp L, and `ds = p * (dp - D)` with `D = rowsum(dout * out)`. L and D ride along as one more
    column of the products.
    """

    @staticmethod
    def forward(ctx: Any, q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor) -> Tensor:
        out_BHTE: Tensor
        out_BHTE, lse_BHT = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q_BHTE, k_BKTE, v_BKTE, is_causal=True
        )
        ctx.save_for_backward(q_BHTE, k_BKTE, v_BKTE, out_BHTE, lse_BHT)
        return out_BHTE

    @staticmethod
    def backward(ctx: Any, grad_BHTE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_BHTE, k_BKTE, v_BKTE, out_BHTE, lse_BHT = ctx.saved_tensors
        width = q_BHTE.shape[3]
        scale = 1 / math.sqrt(width)
        queries = _row_blocks(q_BHTE * scale, -lse_BHT, k_BKTE.shape[1])
        grads = _row_blocks(grad_BHTE, -(grad_BHTE * out_BHTE).sum(-1), k_BKTE.shape[1])
        k_NTE = k_BKTE.flatten(0, 1)
        keys_NET, values_NET = _columns(k_NTE), _columns(v_BKTE.flatten(0, 1))
        dk_NTE, dv_NTE = torch.zeros_like(k_NTE), torch.zeros_like(k_NTE)
        dq_blocks = []
        future_RR = torch.ones(ROWS, ROWS, dtype=torch.bool, device=q_BHTE.device).triu(1)
        for number, (query_NSE, grad_NSE) in enumerate(zip(queries, grads, strict=True), 1):
            seen = number * ROWS
            p_NST = torch.bmm(query_NSE, keys_NET[:, :, :seen]).exp_()
            p_NST.view(len(p_NST), -1, ROWS, seen)[..., -ROWS:].masked_fill_(future_RR, 0)
            ds_NST = torch.bmm(grad_NSE, values_NET[:, :, :seen]).mul_(p_NST)
            # Not baddbmm_: into a part of a tensor it would be one product after the other.
            dv_NTE[:, :seen] += torch.bmm(p_NST.transpose(1, 2), grad_NSE[..., :width])
            dk_NTE[:, :seen] += torch.bmm(ds_NST.transpose(1, 2), query_NSE[..., :width])
            dq_blocks.append(torch.bmm(ds_NST, k_NTE[:, :seen]).view(*k_BKTE.shape[:2], -1, ROWS, width))
        dq_BHTE = torch.stack(dq_blocks, dim=3).view(q_BHTE.shape).mul_(scale)
        return dq_BHTE, dk_NTE.view(k_BKTE.shape), dv_NTE.view(k_BKTE.shape)


def _row_blocks(x_BHTE: Tensor, column_BHT: Tensor, key_heads: int) -> tuple[Tensor, ...]:
    """The blocks of 32 positions, each `(N, S, E + 1)`: rows of `x` with one more column."""
    batch, heads, length, width = x_BHTE.shape
    split = (batch, key_heads, heads // key_heads, length // ROWS, ROWS)
    rows = x_BHTE.new_empty(split[3], batch, key_heads, split[2], ROWS, width + 1)
    rows[..., :width] = x_BHTE.view(*split, width).movedim(3, 0)
    rows[..., width] = column_BHT.view(split).movedim(3, 0)
    blocks: tuple[Tensor, ...] = rows.flatten(3, 4).flatten(1, 2).unbind()
    return blocks


def _columns(x_NTE: Tensor) -> Tensor:
    """`(N, E + 1, T)`: transposed, with a row of ones."""
    return torch.cat((x_NTE.transpose(1, 2), torch.ones_like(x_NTE[..., :1]).transpose(1, 2)), dim=1)
