"""What a model computes on held-out text: logits, and the largest activation.

The folder is loaded as its users load it: stock `AutoModelForCausalLM`, its own dtype, local files only, no code from
the folder. One model is in memory at a time. A model that does not fit into free memory is read from disk layer by
layer as it computes (accelerate's disk offload): the same numbers, more slowly.
"""

from __future__ import annotations

import gc
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.core.memory import available_memory
from gptoss.tables.token_files import TokenSplit

if TYPE_CHECKING:
    import torch

MAX_WINDOWS = 8
MAX_WINDOW_TOKENS = 1024
# Budget of arithmetic for all windows, at 2 operations per parameter and token: less than a minute on a CPU whose half
# precision is slow. A model too large for that reads one window.
WINDOWS_FLOPS = 4e11
# Share of free memory that weights may take; the rest is for activations and logits.
WEIGHTS_MEMORY_SHARE = 0.7


@dataclass
class ModelOutputs:
    """Results of running a model on all windows."""

    logits: list[torch.Tensor] = field(default_factory=list)
    """One per window, float32 [tokens, vocabulary], on the CPU."""
    load_problems: list[str] = field(default_factory=list)
    """Missing or unexpected tensors, mismatched shapes, a class or code that is not stock."""
    largest_activation: tuple[float, str] = (0.0, "")
    """The largest finite absolute value, and the module that returned it."""
    first_not_finite: str = ""
    """The first module, in the order of computation, whose output is not finite; empty when there is none."""


def make_reproducible() -> None:
    """Use one thread: float32 sums depend on how many threads share them, and measured values are published."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(1)
    disable_progress_bar()  # our own progress lines are enough


def held_out_windows(settings: Settings, parameters: int) -> torch.Tensor:
    """Return evenly spaced windows of the validation split: int64 [windows, tokens].

    Errors: `DataError` when the split holds fewer than two tokens.
    """
    import numpy as np
    import torch

    split = TokenSplit.open(paths.SHARDS, "validation")
    length = min(settings.model.context, MAX_WINDOW_TOKENS, len(split))
    if length < 2:
        raise DataError(
            f"the validation split holds {len(split)} tokens, too few to compare models on",
            "raise shards.validation_fraction",
        )
    # At least one window, however large the model: gates without a measurement would pass nothing.
    affordable = int(WINDOWS_FLOPS / (2 * parameters * length))
    count = max(1, min(MAX_WINDOWS, affordable, len(split) // length))
    # Evenly spaced and not random: the split is in order of source, so every source is covered, without a seed.
    starts = np.linspace(0, len(split) - length, count).astype(int)
    return torch.from_numpy(np.stack([split[start : start + length] for start in starts]).astype(np.int64))


def run_model(folder: Path, dtype: Any, weight_bytes: int, windows: torch.Tensor) -> ModelOutputs:
    """Load the model, run it on each window, and free it. Raises what transformers raises.

    `dtype` is that of `from_pretrained`; `weight_bytes` decides whether the weights stay on disk.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model, loading_info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map=_device_map(weight_bytes, folder.name),
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    outputs = ModelOutputs(
        load_problems=[f"{kind} {sorted(map(str, names))}" for kind, names in loading_info.items() if names]
    )
    config = read_json(folder / "config.json")
    if [type(model).__name__] != config["architectures"] or "auto_map" in config:
        outputs.load_problems.append(f"{type(model).__name__} is not the stock {config['architectures'][0]}")
    model.eval()
    # Hooks see every intermediate result without a change to the stock model.
    for name, module in model.named_modules():
        module.register_forward_hook(_activation_hook(name, outputs))
    device = model.device if model.device.type != "meta" else "cpu"  # "meta": the first layers are offloaded to disk
    with torch.no_grad():
        for window in windows:
            # Kept on the CPU, so that a GPU has its whole memory for the other model.
            outputs.logits.append(model(input_ids=window[None].to(device)).logits[0].float().cpu())
    # accelerate puts the model into reference cycles: without a collection two models would be in memory at once.
    del model
    gc.collect()
    return outputs


def _device_map(weight_bytes: int, name: str) -> Any:
    """Return accelerate's `device_map`: GPUs where there are some; else memory if the weights fit, or the disk."""
    import torch

    free = available_memory()
    if torch.cuda.is_available() or weight_bytes <= WEIGHTS_MEMORY_SHARE * free:
        return "auto"
    print(
        f"{name}: {weight_bytes / 1e9:.1f} GB of weights, {free / 1e9:.1f} GB of free memory: "
        "its layers are read from disk one after the other",
        file=sys.stderr,
    )
    return {"": "disk"}


def _activation_hook(name: str, outputs: ModelOutputs) -> Any:
    """Return a forward hook that records the largest activation and the first output that is not finite."""
    import torch

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            return
        largest = float(tensor.abs().amax())  # NaN propagates through amax
        if not math.isfinite(largest):
            outputs.first_not_finite = outputs.first_not_finite or name
        elif largest > outputs.largest_activation[0]:
            outputs.largest_activation = (largest, name)

    return hook
