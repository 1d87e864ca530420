"""Causal attention of short contexts on a CPU, in batched matrix products.

PyTorch's kernel for CPUs goes through the keys of one head at a time; with heads of 32 or 64 its products are small and
its backward pass reaches a fifth of the processor's speed. Here all heads' rows of 32 positions meet all keys before
them in one batched product, and the probabilities are kept for the backward pass: `B * H * T * T / 2` numbers a layer,
which is why only short contexts go this way. `python benchmarks/pretrain.py` shows the effect. Shape suffixes as in
`layers.py`; N is B * K, R the rows of a block, S its query rows: R for each of the H / K heads that share a key.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

ROWS = 32
LONGEST = 1024
"""Beyond it the products are so wide that nothing is gained, and the probabilities take too much memory."""


def is_short(q_BHTE: Tensor) -> bool:
    """Whether this module is the faster one."""
    length = q_BHTE.shape[2]
    return length <= LONGEST and length % ROWS == 0 and q_BHTE.dtype in (torch.float32, torch.float64)


class ShortAttention(torch.autograd.Function):  # type: ignore[misc]
    """`(q (B, H, T, E), k (B, K, T, E), v (B, K, T, E))` to `(B, H, T, E)`.

    The backward pass is that of FlashAttention (Dao et al. 2022, algorithm 4): `ds = p * (dp - D)` with
    `D = rowsum(dout * out)`, but `p` is not computed again. D rides along as one more column of a product.
    """

    @staticmethod
    def forward(ctx: Any, q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor) -> Tensor:
        key_heads, width = k_BKTE.shape[1], q_BHTE.shape[3]
        query_rows = _row_blocks(q_BHTE / math.sqrt(width), key_heads)
        k_NTE, v_NTE = k_BKTE.flatten(0, 1), v_BKTE.flatten(0, 1)
        k_NET = k_NTE.transpose(1, 2).contiguous()
        out_rows = torch.empty_like(query_rows)
        probabilities = []
        future_RR = torch.ones(ROWS, ROWS, dtype=torch.bool, device=q_BHTE.device).triu(1)
        for number, (query_NSE, out_NSE) in enumerate(zip(query_rows, out_rows, strict=True), 1):
            seen = number * ROWS
            p_NST = torch.bmm(query_NSE, k_NET[:, :, :seen])
            p_NST.view(len(p_NST), -1, ROWS, seen)[..., -ROWS:].masked_fill_(future_RR, -math.inf)
            torch.softmax(p_NST, dim=-1, out=p_NST)
            torch.bmm(p_NST, v_NTE[:, :seen], out=out_NSE)
            probabilities.append(p_NST)
        ctx.shape = k_BKTE.shape
        ctx.save_for_backward(query_rows, k_NTE, v_NTE, out_rows, *probabilities)
        return _heads(out_rows, key_heads)

    @staticmethod
    def backward(ctx: Any, grad_BHTE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query_rows, k_NTE, v_NTE, out_rows, *probabilities = ctx.saved_tensors
        key_heads, width = ctx.shape[1], ctx.shape[3]
        grad_rows = _row_blocks(grad_BHTE, key_heads)
        along = (grad_rows * out_rows).sum(-1, keepdim=True).neg_()
        longer_rows = torch.cat((grad_rows, along), dim=-1)
        values_NET = torch.cat((v_NTE, torch.ones_like(v_NTE[..., :1])), dim=-1).transpose(1, 2).contiguous()
        dk_NTE, dv_NTE = torch.zeros_like(k_NTE), torch.zeros_like(v_NTE)
        dq_rows = torch.empty_like(query_rows)
        for number, p_NST in enumerate(probabilities):
            seen = (number + 1) * ROWS
            ds_NST = torch.bmm(longer_rows[number], values_NET[:, :, :seen]).mul_(p_NST)
            # Not baddbmm_: into a part of a tensor it would be one product after the other.
            dv_NTE[:, :seen] += torch.bmm(p_NST.transpose(1, 2), grad_rows[number])
            dk_NTE[:, :seen] += torch.bmm(ds_NST.transpose(1, 2), query_rows[number])
            torch.bmm(ds_NST, k_NTE[:, :seen], out=dq_rows[number])
        dq_BHTE = _heads(dq_rows.div_(math.sqrt(width)), key_heads)
        return dq_BHTE, dk_NTE.view(ctx.shape), dv_NTE.view(ctx.shape)


def _row_blocks(x_BHTE: Tensor, key_heads: int) -> Tensor:
    """`(T / R, N, S, E)`: the rows of 32 positions of all heads that share a key."""
    batch, heads, length, width = x_BHTE.shape
    split = x_BHTE.reshape(batch, key_heads, heads // key_heads, length // ROWS, ROWS, width)
    return split.movedim(3, 0).reshape(length // ROWS, batch * key_heads, heads // key_heads * ROWS, width)


def _heads(rows: Tensor, key_heads: int) -> Tensor:
    """`(B, H, T, E)`: what `_row_blocks` took apart."""
    blocks, groups, sharing, width = rows.shape
    split = rows.view(blocks, groups // key_heads, key_heads, sharing // ROWS, ROWS, width)
    return split.movedim(0, 3).reshape(groups // key_heads, -1, blocks * ROWS, width)
