"""The optimizers over sharded parameters, behind one interface, and the local share of the gradient norm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gptoss.config.pretrain import PretrainConfig
from gptoss.train.muon import Muon
from gptoss.train.sharding import local_tensor, replica_count

NamedParameters = Sequence[tuple[str, Tensor]]


def has_weight_decay(name: str, parameter: Tensor) -> bool:
    """Weight decay applies to matrices, except the input embedding.

    A norm's gain is a scale, for which zero is not a meaningful prior. Decayed embeddings become small, which makes the
    gradients of early layers large (OLMo et al. 2024, OLMo 2). A reason of our own: a row of the embedding has a
    gradient only where its token occurs, so decay would shrink rare tokens for being rare.
    """
    return parameter.dim() > 1 and ".embed_" not in name


def uses_muon(name: str, parameter: Tensor) -> bool:
    """Muon is for the matrices inside the layers; embedding and output head get AdamW (Jordan et al. 2024)."""
    return parameter.dim() == 2 and ".layers." in name


class Optimizer:
    """AdamW for every parameter, or Muon for hidden matrices and AdamW for the rest, by `pretrain.optimizer`.

    One object for all model parts of a rank, so that all virtual pipeline stages step or skip together.
    """

    def __init__(self, named: NamedParameters, config: PretrainConfig) -> None:
        self.named = named
        by_muon = [(n, p) for n, p in named if config.optimizer == "muon" and uses_muon(n, p)]
        by_adamw = [(n, p) for n, p in named if not (config.optimizer == "muon" and uses_muon(n, p))]
        self.optimizers: list[torch.optim.Optimizer] = [build_adamw(by_adamw, config)] if by_adamw else []
        if by_muon:
            self.optimizers.append(Muon([p for _, p in by_muon], config.learning_rate, config.weight_decay))

    def step(self, learning_rate: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def states(self) -> Iterator[dict[str, Tensor]]:
        """The state of each parameter."""
        for optimizer in self.optimizers:
            yield from optimizer.state.values()

    def named_state(self) -> Iterator[tuple[str, Tensor]]:
        """State tensors under global names (`exp_avg.NAME`, `exp_avg_sq.NAME`, `momentum.NAME`), for checkpoints."""
        for name, parameter in self.named:
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    if key != "step":
                        yield f"{key}.{name}", value

    def set_step_count(self, steps: int) -> None:
        """Set the number of updates made so far, for AdamW's bias correction."""
        for state in self.states():
            if "step" in state:
                state["step"].fill_(float(steps))


def build_adamw(named: NamedParameters, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019)."""
    groups = [
        {"params": [p for n, p in named if has_weight_decay(n, p)], "weight_decay": config.weight_decay},
        {"params": [p for n, p in named if not has_weight_decay(n, p)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        # Under Muon a middle pipeline stage has no decayed parameter left for AdamW. fused: one kernel over all
        # parameters, on CPUs too (`python benchmarks/optimizers.py`).
        [group for group in groups if group["params"]],
        lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=1e-8, fused=True,
    )  # fmt: skip
    # torch creates the state in the first step; DCP loads in place and needs it before.
    for _, parameter in named:
        moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.zeros((), device=local_tensor(parameter).device), **moments}
    return optimizer


def local_squared_norm(tensors: Iterable[Tensor]) -> Tensor:
    """This rank's share of the sum of squares over the whole model, a float64 scalar on the device.

    Infinite or NaN when some element is. The sum of all shares counts each element once: elements held by several
    ranks (a norm's gain under tensor parallelism, every shard under hybrid sharding) are divided by their number.
    """
    tensors = list(tensors)
    norms: list[Any] = torch._foreach_norm([local_tensor(tensor) for tensor in tensors])
    # Squared in float64: the square of a finite float32 norm can overflow, and would then look like an overflow of a
    # gradient.
    squares = torch.stack(norms).double().square()
    return (squares / torch.tensor([replica_count(tensor) for tensor in tensors], device=squares.device)).sum()
