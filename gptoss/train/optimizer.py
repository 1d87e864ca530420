"""The optimizers over sharded parameters, seen as one, and the one place where gradients are measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gptoss.config.pretrain import PretrainConfig
from gptoss.train.muon import Muon
from gptoss.train.sharding import copies, local

MOMENTS = ("exp_avg", "exp_avg_sq")


def decays(name: str, parameter: Tensor) -> bool:
    """Which parameters decay: matrices, but not the input embedding.

    A norm's gain is a scale, pulling it to zero is no regularisation; a row of the embedding gets a gradient only
    when its token occurs, so decay would shrink rare tokens for being rare (OLMo et al. 2024, section 3.3).
    """
    return parameter.dim() > 1 and ".embed_" not in name


def hidden(name: str, parameter: Tensor) -> bool:
    """Which parameters Muon takes: the matrices inside the layers, neither embedding nor output head."""
    return parameter.dim() == 2 and ".layers." in name


class Optimizer:
    """What `pretrain.optimizer` names: AdamW for every parameter, or Muon for the hidden matrices and AdamW for the
    rest. One for all parts of the model that a rank holds, so that they step or skip together."""

    def __init__(self, named: Sequence[tuple[str, Tensor]], pretrain: PretrainConfig) -> None:
        self.named = named
        by_muon = [p for n, p in named if pretrain.optimizer == "muon" and hidden(n, p)]
        taken = set(map(id, by_muon))
        rest = [(name, parameter) for name, parameter in named if id(parameter) not in taken]
        self.parts: list[torch.optim.Optimizer] = [adamw(rest, pretrain)] if rest else []
        if by_muon:
            self.parts.append(Muon(by_muon, pretrain.learning_rate, pretrain.weight_decay))

    def step(self, rate: float) -> None:
        """One step at this learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def clear(self) -> None:
        """Drop the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> Iterator[Tensor]:
        """Everything it keeps between steps."""
        for part in self.parts:
            for state in part.state.values():
                yield from state.values()

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        """The state under its global names (`exp_avg.NAME`, `exp_avg_sq.NAME`, `momentum.NAME`)."""
        for name, parameter in self.named:
            for part in self.parts:
                for moment, value in part.state.get(parameter, {}).items():
                    if moment != "step":
                        yield f"{moment}.{name}", value

    def set_steps_taken(self, steps: int) -> None:
        """The count that AdamW's bias correction uses."""
        for part in self.parts:
            for state in part.state.values():
                if "step" in state:
                    state["step"].fill_(float(steps))


def adamw(named: Sequence[tuple[str, Tensor]], pretrain: PretrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with its state made at once, so that a checkpoint can be read into it."""
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


def squared_norm(tensors: Iterable[Tensor]) -> Tensor:
    """This rank's part of the sum of squares over all ranks, float64; not finite when an element is not.

    What several ranks hold alike (a norm's gain under tensor parallelism, every shard under hybrid sharding) is
    divided among them, so that the sum over all ranks counts each element once.
    """
    tensors = list(tensors)
    norms: list[Any] = torch._foreach_norm([local(tensor) for tensor in tensors])
    squares = torch.stack(norms).double().square()
    return (squares / torch.tensor([copies(tensor) for tensor in tensors], device=squares.device)).sum()
