"""What is measured beside the loss: speed against the machine's own peak, memory, and how near float16 is to its end.

Model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B): a token costs 6 N + 12 L H E T floating-point
operations, forward and backward, N the parameters without the input embedding, which is looked up and not multiplied,
L layers, H heads of width E, T positions. Recomputed activations do not count. The peak is what a large matrix
multiplication reaches on these very devices in the precision of the run, measured on all ranks at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gptoss.core.memory import peak_memory
from gptoss.models.decoder import Decoder, parameter_count
from gptoss.models.precision import DTYPES, HALF
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.run_config import RunConfig

PEAK_SECONDS = 0.2
PEAK_SIZE = {"cpu": 768, "cuda": 8192}
"""Rows and columns of the matrices that are multiplied to measure the peak."""


def flops_a_token(plan: RunConfig) -> float:
    """Floating-point operations for a token, by the formula above."""
    model = plan.settings.model
    looked_up = 0 if model.tie_embeddings else plan.vocab_size * model.hidden_size
    multiplied = parameter_count(model, plan.vocab_size) - looked_up
    return 6.0 * multiplied + 12.0 * model.layers * model.heads * model.head_dim * model.context


def peak_flops(plan: RunConfig, ranks: ParallelContext) -> float:
    """Floating-point operations a second of a matrix multiplication, over all ranks. Collective."""
    kind = ranks.device.type
    dtype = DTYPES[plan.precision]
    if kind == "cpu" and dtype in HALF:
        dtype = torch.float32  # in which a CPU multiplies halves
    size = PEAK_SIZE[kind]
    a, b = (torch.ones(size, size, dtype=dtype, device=ranks.device) for _ in range(2))
    a @ b
    ranks.barrier()
    count, began = 0, _now(ranks.device)
    while (elapsed := _now(ranks.device) - began) < PEAK_SECONDS:
        for _ in range(1 if kind == "cpu" else 16):
            a @ b
            count += 1
    (total,) = ranks.sum([2.0 * size**3 * count / elapsed])
    return total


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_bytes(device: torch.device) -> float:
    """Most memory so far: allocated on the GPU, or resident of the process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return float(peak_memory())


class Activations:
    """The largest magnitude that each layer put out, recorded while `watched()`."""

    def __init__(self, parts: Sequence[Decoder], plan: RunConfig, device: torch.device) -> None:
        layers = [item for part in parts for item in part.trunk.layers.items()]
        # Hooks on a compiled layer would be compiled, or ignored.
        self.layers = [] if plan.cluster.compile else [(int(number), layer) for number, layer in layers]
        self.maxima = torch.zeros(plan.settings.model.layers, dtype=torch.float64, device=device)

    @contextmanager
    def watched(self, wanted: bool) -> Iterator[None]:
        """Record the forward passes inside, if wanted."""
        self.maxima.zero_()
        hooks = [layer.register_forward_hook(self._hook(number)) for number, layer in self.layers if wanted]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, number: int) -> Any:
        def record(module: Any, inputs: Any, output: Tensor) -> None:
            values = output.detach()
            held = values.to_local() if hasattr(values, "to_local") else values
            largest = held.float().abs().max().double().nan_to_num(nan=torch.inf, posinf=torch.inf)
            self.maxima[number] = torch.maximum(self.maxima[number], largest)

        return record
