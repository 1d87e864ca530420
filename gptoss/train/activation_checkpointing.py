"""Activation checkpointing: less memory for activations, more compute in the backward pass.

`full` keeps only the input of each layer (Chen et al. 2016). `selective` also keeps what is expensive to recompute: the
output of attention, whose cost grows with the square of the context, and that of every other matrix product, as
torchtitan does (Liang et al. 2024). Two kinds of attention are recomputed all the same: `short_attention.py` on CPUs,
which is cheaper than the kernel whose output could be kept, and compiled FlexAttention (document masks on GPUs), which
does not expose its operations to the policy.

Recomputation runs the same operations on the same numbers, so gradients are bitwise equal; on GPUs up to the order in
which attention kernels accumulate them.
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


def apply_activation_checkpointing(layer: nn.Module, mode: Literal["none", "selective", "full"]) -> None:
    """Make `layer` recompute its activations by `mode`, in place."""
    if mode == "none":
        return
    contexts = {"context_fn": _selective_contexts} if mode == "selective" else {}
    # The forward is replaced, not the module wrapped: a CheckpointWrapper would change parameter names and the module
    # that FSDP shards. No dropout, so there is no RNG state to preserve.
    layer.forward = functools.partial(
        checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False, **contexts
    )


def _selective_contexts() -> Any:
    """Contexts for one forward pass and its recomputation."""
    # Separate counters, so that both passes classify the same matrix products alike.
    products = {True: 0, False: 0}

    def policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        if operation in ATTENTION:
            return CheckpointPolicy.MUST_SAVE
        if operation in MATRIX_PRODUCTS:
            products[context.is_recompute] += 1
            if products[context.is_recompute] % 2:
                return CheckpointPolicy.MUST_SAVE
        return CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)
