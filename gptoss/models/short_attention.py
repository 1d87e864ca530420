"""Causal attention for short contexts on a CPU, by batched matrix products.

    for each block of 32 positions, all heads at once:
        p = softmax(q k^T / sqrt(E), masked) over the keys up to the block's end;  out = p v
    backward:  ds = p * (dout v^T - rowsum(dout * out));  dq = ds k;  dk += ds^T q;  dv += p^T dout

PyTorch's CPU kernel processes the keys of one head at a time. With heads of 32 or 64 its products are small, and its
backward pass reaches a fifth of the processor's speed (`python benchmarks/pretrain.py` shows the effect). Here the
probabilities are kept for the backward pass, `B * H * T * T / 2` numbers per layer, which is why this is only for short
contexts.

Shape suffixes as in `layers.py`, and: N = B * K; S query rows of a block, 32 for each of the H / K heads that share a
key; R positions of a block; U visible keys.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Enough rows for a product at full speed; more would waste more scores above the diagonal.
BLOCK_ROWS = 32
# Beyond it PyTorch's products are wide enough, and the probabilities take too much memory.
MAX_CONTEXT = 1024


def is_short(q_BHTE: Tensor) -> bool:
    """Whether this module supports the shape, and is faster than PyTorch's kernel."""
    length = q_BHTE.shape[2]
    return length <= MAX_CONTEXT and length % BLOCK_ROWS == 0 and q_BHTE.dtype in (torch.float32, torch.float64)


class ShortAttention(torch.autograd.Function):  # type: ignore[misc]
    """`(q (B, H, T, E), k (B, K, T, E), v (B, K, T, E))` to `(B, H, T, E)`.

    The backward pass is that of FlashAttention (Dao et al. 2022, algorithm 4), but with `p` kept instead of recomputed.
    """

    @staticmethod
    def forward(ctx: Any, q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor) -> Tensor:
        key_heads, width = k_BKTE.shape[1], q_BHTE.shape[3]
        q_blocks = _to_blocks(q_BHTE / math.sqrt(width), key_heads)
        k_NTE, v_NTE = k_BKTE.flatten(0, 1), v_BKTE.flatten(0, 1)
        k_NET = k_NTE.transpose(1, 2).contiguous()
        out_blocks = torch.empty_like(q_blocks)
        probabilities = []
        future_RR = torch.ones(BLOCK_ROWS, BLOCK_ROWS, dtype=torch.bool, device=q_BHTE.device).triu(1)
        for number, (q_NSE, out_NSE) in enumerate(zip(q_blocks, out_blocks, strict=True), 1):
            visible = number * BLOCK_ROWS
            p_NSU = torch.bmm(q_NSE, k_NET[:, :, :visible])
            # Only the block on the diagonal has keys in the future.
            p_NSU.view(len(p_NSU), -1, BLOCK_ROWS, visible)[..., -BLOCK_ROWS:].masked_fill_(future_RR, -math.inf)
            torch.softmax(p_NSU, dim=-1, out=p_NSU)
            torch.bmm(p_NSU, v_NTE[:, :visible], out=out_NSE)
            probabilities.append(p_NSU)
        ctx.shape = k_BKTE.shape
        ctx.save_for_backward(q_blocks, k_NTE, v_NTE, out_blocks, *probabilities)
        return _from_blocks(out_blocks, key_heads)

    @staticmethod
    def backward(ctx: Any, grad_BHTE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_blocks, k_NTE, v_NTE, out_blocks, *probabilities = ctx.saved_tensors
        key_heads, width = ctx.shape[1], ctx.shape[3]
        grad_blocks = _to_blocks(grad_BHTE, key_heads)
        # dout v^T - D in one product: -D is appended to dout as a column, a column of ones to v.
        negative_d = (grad_blocks * out_blocks).sum(-1, keepdim=True).neg_()
        extended_blocks = torch.cat((grad_blocks, negative_d), dim=-1)
        extended_v_NET = torch.cat((v_NTE, torch.ones_like(v_NTE[..., :1])), dim=-1).transpose(1, 2).contiguous()
        dk_NTE, dv_NTE = torch.zeros_like(k_NTE), torch.zeros_like(v_NTE)
        dq_blocks = torch.empty_like(q_blocks)
        for number, p_NSU in enumerate(probabilities):
            visible = (number + 1) * BLOCK_ROWS
            ds_NSU = torch.bmm(extended_blocks[number], extended_v_NET[:, :, :visible]).mul_(p_NSU)
            # Not baddbmm_: into a slice of a tensor it runs one product after the other.
            dv_NTE[:, :visible] += torch.bmm(p_NSU.transpose(1, 2), grad_blocks[number])
            dk_NTE[:, :visible] += torch.bmm(ds_NSU.transpose(1, 2), q_blocks[number])
            torch.bmm(ds_NSU, k_NTE[:, :visible], out=dq_blocks[number])
        dq_BHTE = _from_blocks(dq_blocks.div_(math.sqrt(width)), key_heads)
        return dq_BHTE, dk_NTE.view(ctx.shape), dv_NTE.view(ctx.shape)


def _to_blocks(x_BHTE: Tensor, key_heads: int) -> Tensor:
    """`(T / R, N, S, E)`: blocks of positions, with the rows of all heads that share a key together."""
    batch, heads, length, width = x_BHTE.shape
    split = x_BHTE.reshape(batch, key_heads, heads // key_heads, length // BLOCK_ROWS, BLOCK_ROWS, width)
    blocks = split.movedim(3, 0)
    return blocks.reshape(length // BLOCK_ROWS, batch * key_heads, heads // key_heads * BLOCK_ROWS, width)


def _from_blocks(x_blocks: Tensor, key_heads: int) -> Tensor:
    """`(B, H, T, E)`: the inverse of `_to_blocks`."""
    blocks, groups, rows, width = x_blocks.shape
    split = x_blocks.view(blocks, groups // key_heads, key_heads, rows // BLOCK_ROWS, BLOCK_ROWS, width)
    return split.movedim(0, 3).reshape(groups // key_heads, -1, blocks * BLOCK_ROWS, width)
