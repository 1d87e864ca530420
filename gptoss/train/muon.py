"""Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): orthogonalised momentum.

The update of a matrix is its Nesterov momentum with all singular values brought near 1 by five quintic Newton-Schulz
iterations. Scaled by `0.2 * sqrt(max(rows, columns))` it has the root mean square of AdamW's updates, so AdamW's
learning rate and weight decay carry over (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2).

Orthogonalising needs the whole matrix, but FSDP gives each rank some of its rows. Matrices of equal shape are stacked,
and one all-to-all turns the sharding by rows into a sharding by whole matrices: each is orthogonalised once, by one
rank, and sent back by another all-to-all. `torch.optim.Muon` always computes in bfloat16, and every rank orthogonalises
every matrix, one after the other.

Shape suffixes: K matrices of M rows and N columns; R, C the shorter and the longer of M, N.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Shard
from torch.distributed.tensor.placement_types import _StridedShard

from gptoss.train.sharding import local_tensor

MOMENTUM = 0.95
# Coefficients of x -> a x + b (x x^T) x + c (x x^T)^2 x: the steepest at 0 that stays bounded. Singular values end
# between about 0.7 and 1.2 rather than at 1, which Jordan et al. found not to hurt.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
UPDATE_RMS = 0.2  # of AdamW's updates, about
MIN_NORM = 1e-7  # a zero matrix stays zero


def orthogonalize(matrices_KMN: Tensor) -> Tensor:
    """Each matrix with its singular values near 1, in its own precision."""
    a, b, c = COEFFICIENTS
    tall = matrices_KMN.shape[-2] > matrices_KMN.shape[-1]
    x_KRC = matrices_KMN.mT if tall else matrices_KMN  # the Gram matrix of the shorter side is cheaper
    # The iteration converges for singular values up to 1; the Frobenius norm bounds the largest one.
    x_KRC = x_KRC / torch.linalg.matrix_norm(x_KRC, keepdim=True).clamp(min=MIN_NORM)
    for _ in range(ITERATIONS):
        gram_KRR = x_KRC @ x_KRC.mT
        x_KRC = a * x_KRC + (b * gram_KRR + c * gram_KRR @ gram_KRR) @ x_KRC
    return x_KRC.mT if tall else x_KRC


def orthogonalize_shards(updates: list[Tensor]) -> Tensor:
    """Orthogonalise matrices of one shape and sharding; returns the stack of this rank's shards."""
    first = updates[0]
    if not isinstance(first, DTensor):
        return orthogonalize(torch.stack(updates))
    rows, columns = first.shape
    stack_KMN = DTensor.from_local(
        torch.stack([local_tensor(update) for update in updates]),
        first.device_mesh,
        [_placement_in_stack(placement) for placement in first.placements],
        shape=torch.Size((len(updates), rows, columns)),
        stride=(rows * columns, columns, 1),
    )
    whole_KMN = stack_KMN.redistribute(placements=[Shard(0)] * first.device_mesh.ndim)
    result_KMN = DTensor.from_local(
        orthogonalize(whole_KMN.to_local()), whole_KMN.device_mesh, whole_KMN.placements,
        shape=stack_KMN.shape, stride=stack_KMN.stride(),
    )  # fmt: skip
    return result_KMN.redistribute(placements=stack_KMN.placements).to_local()


def _placement_in_stack(placement: Placement) -> Placement:
    """The placement of a matrix after a stack dimension was added in front."""
    if isinstance(placement, _StridedShard):  # FSDP over tensor parallelism
        return _StridedShard(placement.dim + 1, split_factor=placement.split_factor)
    return Shard(placement.dim + 1) if isinstance(placement, Shard) else placement


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Muon for matrices. Its state (`momentum`) is created at once, because DCP loads in place."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay})
        self.by_shape: dict[Any, list[Tensor]] = defaultdict(list)
        (group,) = self.param_groups
        for parameter in group["params"]:
            self.state[parameter]["momentum"] = torch.zeros_like(parameter)
            self.by_shape[parameter.shape, getattr(parameter, "placements", None)].append(parameter)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: None = None) -> None:
        """Update all matrices; every parameter must have a gradient."""
        (group,) = self.param_groups
        decay = 1 - group["lr"] * group["weight_decay"]
        for parameters in self.by_shape.values():
            gradients = [parameter.grad for parameter in parameters]
            momenta = [self.state[parameter]["momentum"] for parameter in parameters]
            # An average of gradients, as in torch.optim.Muon; orthogonalising removes the scale anyway.
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            updates = orthogonalize_shards(torch._foreach_lerp(gradients, momenta, MOMENTUM))  # Nesterov
            step_size = group["lr"] * UPDATE_RMS * max(parameters[0].shape) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                local_tensor(parameter).mul_(decay).sub_(update, alpha=step_size)
