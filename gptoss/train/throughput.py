"""Measurements beside the loss: speed relative to the machine's own peak, memory, activation magnitudes.

Model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B): a token costs 6 N + 12 L H E T floating-point
operations, forward and backward. N: parameters without the input embedding, which is looked up and not multiplied; L
layers; H heads of width E; T positions. Recomputed activations do not count. The peak is what a large matrix product
reaches on these very devices in the run's precision, measured on all ranks at once, not a data sheet's figure.
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
from gptoss.train.sharding import local_tensor

PEAK_SECONDS = 0.2
# Large enough for full speed, small enough for a CPU's cache and for several products within PEAK_SECONDS.
PEAK_SIZE = {"cpu": 768, "cuda": 8192}
# Products per reading of the clock: on a GPU each reading waits for the device.
PEAK_BATCH = {"cpu": 1, "cuda": 16}


def flops_per_token(run_config: RunConfig) -> float:
    """Floating-point operations per token, by the formula above."""
    model = run_config.settings.model
    embedding = 0 if model.tie_embeddings else run_config.vocab_size * model.hidden_size
    # A tied embedding is multiplied too, as the output head.
    multiplied = parameter_count(model, run_config.vocab_size) - embedding
    return 6.0 * multiplied + 12.0 * model.layers * model.heads * model.head_dim * model.context


def peak_flops(run_config: RunConfig, parallel: ParallelContext) -> float:
    """Floating-point operations per second of a matrix product, summed over all ranks. Collective."""
    kind = parallel.device.type
    dtype = DTYPES[run_config.precision]
    if kind == "cpu" and dtype in HALF:
        dtype = torch.float32  # in which a CPU multiplies half-precision operands, see `gptoss.models.precision`
    size = PEAK_SIZE[kind]
    a, b = (torch.ones(size, size, dtype=dtype, device=parallel.device) for _ in range(2))
    a @ b  # warm-up
    parallel.barrier()
    count, started = 0, _now(parallel.device)
    while (elapsed := _now(parallel.device) - started) < PEAK_SECONDS:
        for _ in range(PEAK_BATCH[kind]):
            a @ b
        count += PEAK_BATCH[kind]
    (total,) = parallel.all_reduce_sum([2.0 * size**3 * count / elapsed])
    return total


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_bytes(device: torch.device) -> float:
    """Peak memory so far: allocated on the GPU, or resident size of a CPU process."""
    return float(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory())


class ActivationMonitor:
    """The largest magnitude in each layer's output, recorded while `recording()`: how close float16 is to overflow."""

    def __init__(self, model_parts: Sequence[Decoder], run_config: RunConfig, device: torch.device) -> None:
        layers = [item for part in model_parts for item in part.trunk.layers.items()]
        # Hooks on a compiled layer would be compiled, or ignored.
        self.layers = [] if run_config.cluster.compile else [(int(number), layer) for number, layer in layers]
        self.maxima = torch.zeros(run_config.settings.model.layers, dtype=torch.float64, device=device)

    @contextmanager
    def recording(self, enabled: bool) -> Iterator[None]:
        """Record the forward passes inside, if enabled."""
        self.maxima.zero_()
        hooks = [layer.register_forward_hook(self._hook(number)) for number, layer in self.layers if enabled]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, number: int) -> Any:
        def record(module: Any, inputs: Any, output: Tensor) -> None:
            largest = local_tensor(output.detach()).float().abs().max().double()
            # NaN as infinity: a MAX all-reduce may drop NaN.
            largest = largest.nan_to_num(nan=torch.inf, posinf=torch.inf)
            self.maxima[number] = torch.maximum(self.maxima[number], largest)

        return record
