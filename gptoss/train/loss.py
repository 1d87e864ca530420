"""The training loss: summed next-token cross-entropy times a factor, in bounded memory for any vocabulary.

Shape suffixes: B sequences, T positions, V padded vocabulary, N = B * T, C rows of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gptoss.models.precision import device_type, master_dtype
from gptoss.train.batches import IGNORE_INDEX

# Logits upcast at a time: 1 MiB of float32 fits the cache of a CPU core, 1 GiB is a small part of a GPU's memory.
CHUNK_ELEMENTS = {"cpu": 2**18, "cuda": 2**28}


class ChunkedCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Loss and gradient in one pass over chunks of rows. Only one chunk is upcast at a time, and the gradient
    overwrites the logits, which nothing reads afterwards (as in Hsu et al. 2024, Liger Kernel, section 3.2).

    Returns `factor` * summed cross-entropy, a float64 scalar. Its gradient, rounded to the precision of the logits
    once, is that of `factor * (cross-entropy + z_loss * log(Z)^2)`, with Z the sum of exponentials (Chowdhery et al.
    2022, section 5); the returned value omits the z-loss, so curves with and without it compare. With `soft_cap`
    everything is computed on `cap * tanh(logits / cap)` (Gemma Team 2024, section 2). Targets of `IGNORE_INDEX` do not
    count.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_BTV: Tensor, targets_BT: Tensor, factor: float, z_loss: float, soft_cap: float | None
    ) -> Tensor:
        logits_NV, targets_N = logits_BTV.flatten(0, -2), targets_BT.flatten()
        needs_gradient = ctx.needs_input_grad[0]
        upcast = master_dtype(logits_NV.dtype)
        rows = max(1, CHUNK_ELEMENTS[device_type(logits_NV)] // logits_NV.shape[1])
        total = torch.zeros((), dtype=torch.float64, device=logits_NV.device)
        for logits_CV, targets_C in zip(logits_NV.split(rows), targets_N.split(rows), strict=True):
            weights_C = (targets_C != IGNORE_INDEX).to(upcast)
            columns_C1 = targets_C.clamp(min=0).unsqueeze(1)
            capped_CV = logits_CV.to(upcast)
            if soft_cap is not None:
                capped_CV = torch.tanh(capped_CV / soft_cap).mul_(soft_cap)
            gradient_CV = torch.log_softmax(capped_CV, dim=1)  # becomes the gradient in place, below
            log_likelihood_C = gradient_CV.gather(1, columns_C1).squeeze(1)
            total -= (log_likelihood_C * weights_C).sum()
            if not needs_gradient:
                continue
            # d/dx (-log softmax_t + z log(Z)^2) = softmax * (1 + 2 z log Z) - onehot_t
            gradient_CV.exp_()
            if z_loss:
                log_z_C = capped_CV.gather(1, columns_C1).squeeze(1) - log_likelihood_C
                gradient_CV.mul_((1 + 2 * z_loss * log_z_C).unsqueeze(1))
            gradient_CV.scatter_add_(1, columns_C1, torch.full_like(columns_C1, -1, dtype=upcast))
            if soft_cap is not None:
                gradient_CV.mul_(1 - (capped_CV / soft_cap).square_())  # tanh' = 1 - tanh^2
            logits_CV.copy_(gradient_CV.mul_((weights_C * factor).unsqueeze(1)))
        ctx.gradient = logits_NV.view(logits_BTV.shape) if needs_gradient else None
        return total * factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # The pipeline schedule keeps its losses, and with them `ctx`, to the end of the step: do not keep the logits.
        gradient_BTV, ctx.gradient = ctx.gradient, None
        return gradient_BTV.mul_(grad.to(gradient_BTV.dtype)), None, None, None, None


class ScaledLoss:
    """Callable on (logits, targets), as the pipeline schedule expects; set `factor` before each pass. z-loss and soft
    cap apply only where a gradient is computed; validation measures plain cross-entropy."""

    def __init__(self, z_loss: float, soft_cap: float | None) -> None:
        self.factor = 1.0
        self.z_loss, self.soft_cap = z_loss, soft_cap

    def __call__(self, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        options = (self.z_loss, self.soft_cap) if torch.is_grad_enabled() else (0.0, None)
        loss: Tensor = ChunkedCrossEntropy.apply(logits_BTV, targets_BT, self.factor, *options)
        return loss
