"""The training loss: summed cross-entropy of next tokens times a factor, in bounded memory for any vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.pretrain.data import IGNORED
from stages.pretrain.precision import device_kind, master_dtype

CHUNK_ELEMENTS = {"cpu": 2**18, "cuda": 2**28}
"""Logits widened at a time: what fits the cache of a core, or a small part of a GPU."""


class ChunkedCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Loss and gradient in one pass over rows of logits: a wide copy exists of one chunk at a time.

    The gradient, `(softmax - one hot) * factor`, is rounded to the precision of the logits once. A target of
    `IGNORED` counts for nothing.
    """

    @staticmethod
    def forward(ctx: Any, logits_BTV: Tensor, targets_BT: Tensor, factor: float) -> Tensor:
        logits_NV, targets_N = logits_BTV.flatten(0, -2), targets_BT.flatten()
        grad_NV = torch.empty_like(logits_NV)
        wide = master_dtype(logits_NV.dtype)
        rows = max(1, CHUNK_ELEMENTS[device_kind(logits_NV)] // logits_NV.shape[1])
        total = torch.zeros((), dtype=torch.float64, device=logits_NV.device)
        for logits, targets, grad in zip(*(x.split(rows) for x in (logits_NV, targets_N, grad_NV)), strict=True):
            counted = (targets != IGNORED).to(wide)
            columns = targets.clamp(min=0).unsqueeze(1)
            chunk = torch.log_softmax(logits.to(wide), dim=1)
            total -= (chunk.gather(1, columns).squeeze(1) * counted).sum()
            chunk.exp_().scatter_add_(1, columns, torch.full_like(columns, -1, dtype=wide))
            grad.copy_(chunk.mul_((counted * factor).unsqueeze(1)))
        ctx.save_for_backward(grad_NV.view(logits_BTV.shape))
        return total * factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (grad_BTV,) = ctx.saved_tensors
        return grad_BTV * grad.to(grad_BTV.dtype), None, None


class ScaledLoss:
    """Callable on (logits, targets), as the pipeline schedule wants it; `factor` is set before each pass."""

    def __init__(self) -> None:
        self.factor = 1.0

    def __call__(self, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        loss: Tensor = ChunkedCrossEntropy.apply(logits_BTV, targets_BT, self.factor)
        return loss
