"""Less memory for activations, more computing: the backward pass runs (parts of) a layer's forward pass again.

`full` keeps a layer's input alone (Chen et al. 2016). `selective` also keeps what is dear to compute again: the
output of attention, whose cost grows with the square of the context, and that of every other matrix product, as
torchtitan does (Liang et al. 2024). Attention of short contexts on a CPU is computed again: that costs less than the
slower kind of attention whose output could be kept. So is FlexAttention (document masks on a GPU), which is compiled
and shows none of its operations. Operations and numbers are the same either way, so gradients are the same bits, on
GPUs up to the order in which attention sums them.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

aten = torch.ops.aten
MATRIX_PRODUCTS = frozenset({aten.mm.default, aten.addmm.default})
ATTENTION = frozenset({
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
})  # fmt: skip


def checkpointed(layer: nn.Module, mode: Literal["none", "selective", "full"]) -> None:
    """Make `layer` recompute by `mode`, in place. It stays one module with one forward and one backward pass, which
    is all that sharding sees."""
    if mode == "none":
        return
    contexts = {"context_fn": _selective} if mode == "selective" else {}
    layer.forward = functools.partial(
        checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False, **contexts
    )


def _selective() -> Any:
    """Contexts of one forward pass and its repetition. Both count the matrix products alike."""
    counts = {True: 0, False: 0}

    def policy(context: Any, operation: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
        if operation in ATTENTION:
            return CheckpointPolicy.MUST_SAVE
        if operation not in MATRIX_PRODUCTS:
            return CheckpointPolicy.PREFER_RECOMPUTE
        counts[context.is_recompute] += 1
        odd = counts[context.is_recompute] % 2
        return CheckpointPolicy.MUST_SAVE if odd else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)
