"""The training loss: summed cross-entropy of next tokens times a factor, in bounded memory for any vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gptoss.models.precision import device_kind, master_dtype
from gptoss.train.batches import IGNORED

CHUNK_ELEMENTS = {"cpu": 2**18, "cuda": 2**28}
"""Logits widened at a time: what fits the cache of a core, or a small part of a GPU."""


class ChunkedCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Loss and gradient in one pass over rows of logits: a wide copy exists of one chunk at a time, and the gradient
    takes the place of the logits, which no one needs after this (as in Hsu et al. 2024, Liger, section 3.2).

    Gives the summed cross-entropy times `factor`; its gradient, rounded to the precision of the logits once, is that
    of `factor * (cross-entropy + z_loss * log(Z)^2)`, Z being the sum of exponentials (Chowdhery et al. 2022, section
    5): the curve of a run with z-loss compares with one without. With `soft_cap` all of it is of the logits
    `cap * tanh(logits / cap)` (Gemma Team 2024, section 2). A target of `IGNORED` counts for nothing.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_BTV: Tensor, targets_BT: Tensor, factor: float, z_loss: float, soft_cap: float | None
    ) -> Tensor:
        logits_NV, targets_N = logits_BTV.flatten(0, -2), targets_BT.flatten()
        wants_gradient = ctx.needs_input_grad[0]
        wide = master_dtype(logits_NV.dtype)
        rows = max(1, CHUNK_ELEMENTS[device_kind(logits_NV)] // logits_NV.shape[1])
        total = torch.zeros((), dtype=torch.float64, device=logits_NV.device)
        for logits, targets in zip(logits_NV.split(rows), targets_N.split(rows), strict=True):
            counted = (targets != IGNORED).to(wide)
            columns = targets.clamp(min=0).unsqueeze(1)
            bent = logits.to(wide) if soft_cap is None else torch.tanh(logits.to(wide) / soft_cap).mul_(soft_cap)
            chunk = torch.log_softmax(bent, dim=1)
            log_likelihoods = chunk.gather(1, columns).squeeze(1)
            total -= (log_likelihoods * counted).sum()
            if not wants_gradient:
                continue
            if z_loss:
                log_z = bent.gather(1, columns).squeeze(1) - log_likelihoods
                chunk.exp_().mul_((1 + 2 * z_loss * log_z).unsqueeze(1))
            else:
                chunk.exp_()
            chunk.scatter_add_(1, columns, torch.full_like(columns, -1, dtype=wide))
            if soft_cap is not None:
                chunk.mul_(1 - (bent / soft_cap).square_())
            logits.copy_(chunk.mul_((counted * factor).unsqueeze(1)))
        ctx.gradient = logits_NV.view(logits_BTV.shape) if wants_gradient else None
        return total * factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None  # a schedule holds its losses, and so `ctx`, to the end of the step
        return gradient.mul_(grad.to(gradient.dtype)), None, None, None, None


class ScaledLoss:
    """Callable on (logits, targets), as the pipeline schedule wants it; `factor` is set before each pass. The options
    of training hold where a gradient is wanted; what is only measured is plain cross-entropy."""

    def __init__(self, z_loss: float, soft_cap: float | None) -> None:
        self.factor = 1.0
        self.z_loss, self.soft_cap = z_loss, soft_cap

    def __call__(self, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        options = (self.z_loss, self.soft_cap) if torch.is_grad_enabled() else (0.0, None)
        loss: Tensor = ChunkedCrossEntropy.apply(logits_BTV, targets_BT, self.factor, *options)
        return loss
