"""The precision policy: half precision, also on machines without fast half-precision matrix products.

Parameters, activations and gradients are stored in float16 (or bfloat16), so overflow and underflow are real on every
machine. A GPU also multiplies in half precision, accumulating in float32 (`accumulate_in_float32`). A CPU upcasts the
operands to float32, multiplies, and rounds the result: the same rounding points at 1.04 times the cost of float32,
while native half-precision products are some twenty times slower on AVX2. The bits are also the same on CPUs with and
without half-precision instructions.

Shape suffixes: B sequences, T positions, N = B * T, I inputs, O outputs, V vocabulary, D hidden size.
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
"""Compute precisions. float64 is not configurable: tests use it to compare meshes below rounding noise."""

HALF = (torch.float16, torch.bfloat16)

# Empty: tensors take the code path of their real device.
_simulated_device: ContextVar[str] = ContextVar("simulated_device", default="")


def master_dtype(compute: torch.dtype) -> torch.dtype:
    """Precision of master weights, optimizer state, gradient reduction and loss: at least float32."""
    return torch.float64 if compute == torch.float64 else torch.float32


def accumulate_in_float32() -> None:
    """Make the GPU accumulate half-precision products in float32 throughout; by default cuBLAS may reduce partial sums
    (split-K) in half precision, which overflows earlier."""
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


class HalfLinear(torch.autograd.Function):  # type: ignore[misc]
    """`x @ weight.T + bias` for several weights of one half-precision input on a CPU.

    Operands are upcast to float32 (`x` once for all weights), results rounded to half precision; the gradients of `x`
    from all weights accumulate in float32.
    """

    @staticmethod
    def forward(ctx: Any, x_BTI: Tensor, bias_O: Tensor | None, *weights_OI: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x_BTI, *weights_OI)
        ctx.has_bias = bias_O is not None
        upcast_BTI, upcast_O = x_BTI.float(), None if bias_O is None else bias_O.float()
        return tuple(F.linear(upcast_BTI, weight_OI.float(), upcast_O).to(x_BTI.dtype) for weight_OI in weights_OI)

    @staticmethod
    def backward(ctx: Any, *grads_BTO: Tensor) -> tuple[Tensor | None, ...]:
        x_BTI, *weights_OI = ctx.saved_tensors
        upcast_NI = x_BTI.float().flatten(0, -2)
        grad_NI = torch.zeros_like(upcast_NI)
        grads_OI = []
        # Weights are upcast again instead of saved in float32, which would double their memory.
        for grad_BTO, weight_OI in zip(grads_BTO, weights_OI, strict=True):
            grad_NO = grad_BTO.float().flatten(0, -2)
            grad_NI.addmm_(grad_NO, weight_OI.float())
            grads_OI.append((grad_NO.T @ upcast_NI).to(weight_OI.dtype))
        # A bias comes with a single weight, so there is one output gradient.
        grad_O = grads_BTO[0].float().flatten(0, -2).sum(0).to(x_BTI.dtype) if ctx.has_bias else None
        return grad_NI.view(x_BTI.shape).to(x_BTI.dtype), grad_O, *grads_OI


class HalfEmbedding(torch.autograd.Function):  # type: ignore[misc]
    """Embedding lookup whose gradient accumulates in float32, as on a GPU, and is rounded to half precision once.
    Accumulated in float16, the gradient of a frequent token would stop growing at 2048 times its addends."""

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
    """Whether products with this tensor are computed in float32: half precision on a CPU."""
    return tensor.dtype in HALF and device_type(tensor) == "cpu"


def device_type(tensor: Tensor) -> str:
    """`cpu` or `cuda`: the device whose code path a tensor takes, see `simulate_device`."""
    return _simulated_device.get() or tensor.device.type


@contextmanager
def simulate_device(kind: str) -> Iterator[None]:
    """Take the code paths of device `kind` with CPU tensors: `gptoss.simulate` measures a GPU's memory that way."""
    token = _simulated_device.set(kind)
    try:
        yield
    finally:
        _simulated_device.reset(token)


def local_shard(weight: Tensor) -> Tensor:
    """The part of a weight that this rank computes with: its shard under tensor parallelism, otherwise the whole."""
    if not isinstance(weight, DTensor):
        return weight
    # A weight that is replicated over the tensor-parallel ranks meets different positions of the sequence on each of
    # them, so the local gradient is one addend of its gradient.
    return weight.to_local(grad_placements=[Partial() if p.is_replicate() else p for p in weight.placements])


def linear(x: Tensor, *weights: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """`F.linear(x, weight, bias)` for each weight, by the policy of this module; `bias` only with a single weight."""
    weights = tuple(local_shard(weight) for weight in weights)
    if upcasts(x):
        outputs: tuple[Tensor, ...] = HalfLinear.apply(x, bias, *weights)
        return outputs
    return tuple(F.linear(x, weight, bias) for weight in weights)


def embedding(tokens: Tensor, table: Tensor) -> Tensor:
    """`F.embedding`, by the policy of this module."""
    table = local_shard(table)
    return HalfEmbedding.apply(tokens, table) if upcasts(table) else F.embedding(tokens, table)
