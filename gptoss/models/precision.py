"""Half precision on machines that have no fast half matrix multiplication.

Storage is what a precision is about: parameters, activations and gradients are kept in float16 (or bfloat16), so
overflow and underflow are real on every machine. A GPU also multiplies in half precision, accumulating in float32
(`accumulate_in_float32`). A CPU converts the operands to float32, multiplies, and rounds the result to half: the same
rounding points, at 1.04 times the cost of float32 (native half matmuls are some twenty times slower on AVX2), and the
same bits on a CPU with half-precision instructions as on one without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
"""Compute precisions. float64 is no setting: the tests use it to compare meshes below rounding noise."""

HALF = (torch.float16, torch.bfloat16)


_simulated_kind: ContextVar[str] = ContextVar("simulated_kind", default="")


def master_dtype(compute: torch.dtype) -> torch.dtype:
    """Precision of master weights, optimizer state, gradient reduction and loss: at least float32."""
    return torch.float64 if compute == torch.float64 else torch.float32


def accumulate_in_float32() -> None:
    """Have the GPU add up products of halves in float32 throughout; by default cuBLAS may add partial sums in half."""
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


class HalfProjections(torch.autograd.Function):  # type: ignore[misc]
    """`x @ weight.T + bias` for several weights of one half tensor on a CPU: operands widened to float32 (`x` once),
    results rounded to half; the gradients that meet in `x` add up in float32."""

    @staticmethod
    def forward(ctx: Any, x_BTI: Tensor, bias_O: Tensor | None, *weights_OI: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x_BTI, *weights_OI)
        ctx.biased = bias_O is not None
        wide_BTI, wide_O = x_BTI.float(), None if bias_O is None else bias_O.float()
        return tuple(F.linear(wide_BTI, weight_OI.float(), wide_O).to(x_BTI.dtype) for weight_OI in weights_OI)

    @staticmethod
    def backward(ctx: Any, *grads_BTO: Tensor) -> tuple[Tensor | None, ...]:
        x_BTI, *weights_OI = ctx.saved_tensors
        wide_NI = x_BTI.float().flatten(0, -2)
        grad_NI = torch.zeros_like(wide_NI)
        grads_OI = []
        for grad_BTO, weight_OI in zip(grads_BTO, weights_OI, strict=True):
            grad_NO = grad_BTO.float().flatten(0, -2)
            grad_NI.addmm_(grad_NO, weight_OI.float())
            grads_OI.append((grad_NO.T @ wide_NI).to(weight_OI.dtype))
        grad_O = grads_BTO[0].float().flatten(0, -2).sum(0).to(x_BTI.dtype) if ctx.biased else None
        return grad_NI.view(x_BTI.shape).to(x_BTI.dtype), grad_O, *grads_OI


class HalfEmbedding(torch.autograd.Function):  # type: ignore[misc]
    """Table lookup whose gradient adds up in float32, as a GPU does, and is rounded to half once."""

    @staticmethod
    def forward(ctx: Any, tokens_BT: Tensor, table_VD: Tensor) -> Tensor:
        ctx.save_for_backward(tokens_BT)
        ctx.table = table_VD.shape, table_VD.dtype
        return F.embedding(tokens_BT, table_VD)

    @staticmethod
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[None, Tensor]:
        (tokens_BT,) = ctx.saved_tensors
        shape, dtype = ctx.table
        grad_VD = torch.zeros(shape, dtype=torch.float32, device=grad_BTD.device)
        grad_VD.index_add_(0, tokens_BT.flatten(), grad_BTD.float().flatten(0, -2))
        return None, grad_VD.to(dtype)


def upcasts(tensor: Tensor) -> bool:
    """Whether products with this tensor are taken in float32: half precision on a CPU."""
    return tensor.dtype in HALF and device_kind(tensor) == "cpu"


def device_kind(tensor: Tensor) -> str:
    """`cpu` or `cuda`: whose way of computing applies to a tensor."""
    return _simulated_kind.get() or tensor.device.type


@contextmanager
def as_if_on(kind: str) -> Iterator[None]:
    """Compute with CPU tensors as is done on `kind`: to find out on a CPU how much memory a GPU would need."""
    token = _simulated_kind.set(kind)
    try:
        yield
    finally:
        _simulated_kind.reset(token)


def local_shard(weight: Tensor) -> Tensor:
    """The part of a weight that this rank computes with: under tensor parallelism its shard, else the whole.

    A weight that all tensor-parallel ranks hold whole meets another part of the sequence on each of them, so its
    gradient here is one addend of the sum.
    """
    if not isinstance(weight, DTensor):
        return weight
    return weight.to_local(grad_placements=[Partial() if p.is_replicate() else p for p in weight.placements])


def linear(x: Tensor, *weights: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """`F.linear(x, weight, bias)` for each weight, by the policy of this module; a bias comes with one weight only."""
    weights = tuple(local_shard(weight) for weight in weights)
    if upcasts(x):
        outputs: tuple[Tensor, ...] = HalfProjections.apply(x, bias, *weights)
        return outputs
    return tuple(F.linear(x, weight, bias) for weight in weights)


def embedding(tokens: Tensor, table: Tensor) -> Tensor:
    """`F.embedding`, by the policy of this module."""
    table = local_shard(table)
    return HalfEmbedding.apply(tokens, table) if upcasts(table) else F.embedding(tokens, table)
