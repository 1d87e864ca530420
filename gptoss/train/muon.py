"""Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): momentum, orthogonalised.

The update of a matrix is its Nesterov momentum with all singular values brought near 1, by five quintic Newton-Schulz
iterations. Scaled by `0.2 * sqrt(max(rows, columns))` it has the root mean square of AdamW's updates, so AdamW's
learning rate and weight decay carry over (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2).

Orthogonalising needs the whole matrix, of which FSDP leaves each rank some rows. Matrices of one shape are stacked,
and the stack is dealt out by whole matrices instead of by rows (one all-to-all), so that every matrix is
orthogonalised once, by one rank, and dealt back. `torch.optim.Muon` computes in bfloat16 whatever it is given, and
one matrix after the other on every rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Shard
from torch.distributed.tensor.placement_types import _StridedShard

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the iteration x → a x + b (x xᵀ) x + c (x xᵀ)² x: the steepest at 0 that stays bounded; singular values end
between about 0.7 and 1.2, not at 1."""
ITERATIONS = 5
RMS = 0.2
"""Root mean square of an update before the learning rate, about that of AdamW's."""
SMALLEST_NORM = 1e-7


def orthogonalised(matrices_KMN: Tensor) -> Tensor:
    """Each matrix with its singular values near 1, in the precision it has."""
    a, b, c = COEFFICIENTS
    tall = matrices_KMN.shape[-2] > matrices_KMN.shape[-1]
    x_KRC = matrices_KMN.mT if tall else matrices_KMN
    x_KRC = x_KRC / torch.linalg.matrix_norm(x_KRC, keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram_KRR = x_KRC @ x_KRC.mT
        x_KRC = a * x_KRC + (b * gram_KRR + c * gram_KRR @ gram_KRR) @ x_KRC
    return x_KRC.mT if tall else x_KRC


def orthogonalised_shards(updates: list[Tensor]) -> Tensor:
    """This rank's shards of the orthogonalised matrices, stacked; the matrices are of one shape, sharded alike."""
    first = updates[0]
    if not isinstance(first, DTensor):
        return orthogonalised(torch.stack(updates))
    rows, columns = first.shape
    stack = DTensor.from_local(
        torch.stack([update.to_local() for update in updates]),  # type: ignore[attr-defined]
        first.device_mesh,
        [_in_stack(place) for place in first.placements],
        shape=torch.Size((len(updates), rows, columns)),
        stride=(rows * columns, columns, 1),
    )
    whole = stack.redistribute(placements=[Shard(0)] * first.device_mesh.ndim)
    done = DTensor.from_local(
        orthogonalised(whole.to_local()), whole.device_mesh, whole.placements, shape=stack.shape, stride=stack.stride()
    )
    return done.redistribute(placements=stack.placements).to_local()


def _in_stack(place: Placement) -> Placement:
    """Where the dimensions of a matrix are in a stack of them. FSDP over tensor parallelism shards with a stride."""
    if isinstance(place, _StridedShard):
        return _StridedShard(place.dim + 1, split_factor=place.split_factor)
    return Shard(place.dim + 1) if isinstance(place, Shard) else place


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Muon for matrices, its state (`momentum`) made at once, so that a checkpoint can be read into it."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay})
        self.alike: dict[Any, list[Tensor]] = defaultdict(list)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
                self.alike[parameter.shape, getattr(parameter, "placements", None)].append(parameter)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: None = None) -> None:
        """One step; every parameter has a gradient."""
        (group,) = self.param_groups
        rate, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
        for parameters in self.alike.values():
            gradients = [parameter.grad for parameter in parameters]
            momenta = [self.state[parameter]["momentum"] for parameter in parameters]
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            nesterov = torch._foreach_lerp(gradients, momenta, MOMENTUM)
            updates = orthogonalised_shards(nesterov)
            step = rate * RMS * max(parameters[0].shape) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
                local.mul_(decay).sub_(update, alpha=step)
