"""AdamW over sharded parameters, its learning rate, and the one place where gradients are unscaled and clipped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from stages.pretrain.parallel import copies, local
from stages.settings import Pretrain

MOMENTS = ("exp_avg", "exp_avg_sq")


def decays(name: str, parameter: Tensor) -> bool:
    """Which parameters decay: matrices, but not the input embedding.

    A norm's gain is a scale, pulling it to zero is no regularisation; a row of the embedding gets a gradient only
    when its token occurs, so decay would shrink rare tokens for being rare (OLMo et al. 2024, section 3.3).
    """
    return parameter.dim() > 1 and ".embed_" not in name


def adamw(named: Sequence[tuple[str, Tensor]], pretrain: Pretrain) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with its state made at once, so that a checkpoint can be read into it. One
    for all parts of the model that a rank holds."""
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": pretrain.weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=pretrain.learning_rate, betas=(pretrain.beta1, pretrain.beta2), eps=1e-8, fused=True,
    )  # fmt: skip
    for _, parameter in named:
        state = {moment: torch.zeros_like(parameter) for moment in MOMENTS}
        optimizer.state[parameter] = {"step": torch.zeros((), device=local(parameter).device), **state}
    return optimizer


def learning_rate(step: int, pretrain: Pretrain) -> float:
    """Rate of step 1, 2, … `steps`: linear warm-up, then a cosine to `final_learning_rate_fraction` of the peak."""
    if step <= pretrain.warmup_steps:
        return pretrain.learning_rate * step / pretrain.warmup_steps
    done = (step - pretrain.warmup_steps) / (pretrain.steps - pretrain.warmup_steps)
    floor = pretrain.final_learning_rate_fraction
    return pretrain.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The same rate for every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def set_steps_taken(optimizer: torch.optim.Optimizer, steps: int) -> None:
    """The count that AdamW's bias correction uses."""
    for state in optimizer.state.values():
        state["step"].fill_(float(steps))


def squared_norm(tensors: Iterable[Tensor]) -> Tensor:
    """This rank's part of the sum of squares over all ranks, float64; not finite when an element is not.

    What several ranks hold alike (a norm's gain under tensor parallelism, every shard under hybrid sharding) is
    divided among them, so that the sum over all ranks counts each element once.
    """
    tensors = list(tensors)
    norms: list[Any] = torch._foreach_norm([local(tensor) for tensor in tensors])
    squares = torch.stack(norms).double().square()
    return (squares / torch.tensor([copies(tensor) for tensor in tensors], device=squares.device)).sum()
