"""The float16 model against the float32 weights it was cast from, on held-out text.

The folder is loaded as its users will: stock `AutoModelForCausalLM`, its own dtype, local files only, no code from
the folder. Both models then read the same windows, each in its own arithmetic, one model in memory at a time. A model
that does not fit the memory at hand is read from disk layer by layer as it computes (accelerate's disk offload): the
same numbers, slower. The distance is KL(FP32 ‖ FP16) of the next token, in nats (Kullback and Leibler 1951), the
mean over all positions; sums are in float64.
"""

from __future__ import annotations

import gc
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
WINDOW_FLOPS = 4e11
"""Arithmetic spent on the windows, 2 operations a parameter and token: under a minute where half precision is slow.
A model too large for that reads one window."""
ROWS = 64
"""Positions whose distributions are compared at once, in float64."""
MEMORY_SHARE = 0.7
"""Part of the free memory that weights may take; the rest is for activations and logits."""


@dataclass
class Reading:
    """What a model said on the windows."""

    logits: list[torch.Tensor] = field(default_factory=list)
    """One a window, float32 [tokens, vocabulary], on the CPU."""
    problems: list[str] = field(default_factory=list)
    """What is not stock about the model: missing tensors, others than the architecture's, shapes that differ."""
    largest: tuple[float, str] = (0.0, "")
    """The largest finite absolute activation, and the module whose output it is."""
    not_finite: str = ""
    """The first module, in the order of computation, with an output that is not finite; empty when there is none."""


def held_out_windows(settings: Settings, parameters: int) -> torch.Tensor:
    """Windows of the validation split, evenly spaced: int64 [windows, tokens]. Raises `DataError` when it holds
    fewer than two tokens."""
    import numpy as np
    import torch

    split = TokenSplit.open(paths.SHARDS, "validation")
    length = min(settings.model.context, MAX_WINDOW_TOKENS, len(split))
    if length < 2:
        raise DataError(
            f"the validation split holds {len(split)} tokens, too few to compare models on",
            "raise shards.validation_fraction",
        )
    affordable = int(WINDOW_FLOPS / (2 * parameters * length))
    count = max(1, min(MAX_WINDOWS, affordable, len(split) // length))
    starts = np.linspace(0, len(split) - length, count).astype(int)
    return torch.from_numpy(np.stack([split[start : start + length] for start in starts]).astype(np.int64))


def read(folder: Path, dtype: Any, weight_bytes: int, windows: torch.Tensor) -> Reading:
    """Load the model, let it read each window, and let go of it. Raises what transformers raises."""
    import torch
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map=placement(weight_bytes, folder.name),
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    reading = Reading(problems=[f"{kind} {sorted(map(str, found))}" for kind, found in info.items() if found])
    config = read_json(folder / "config.json")
    if [type(model).__name__] != config["architectures"] or "auto_map" in config:
        reading.problems.append(f"{type(model).__name__} is not the stock {config['architectures'][0]}")
    model.eval()
    watch(model, reading)
    device = model.device if model.device.type != "meta" else "cpu"  # meta: the first layers are read from disk
    with torch.no_grad():
        for window in windows:
            reading.logits.append(model(input_ids=window[None].to(device)).logits[0].float().cpu())
    del model
    gc.collect()
    return reading


def placement(weight_bytes: int, name: str) -> Any:
    """accelerate's `device_map`: where there is a GPU, GPUs first; else the memory if the weights fit, or the disk."""
    import torch

    free = available_memory()
    if torch.cuda.is_available() or weight_bytes <= MEMORY_SHARE * free:
        return "auto"
    print(
        f"{name}: {weight_bytes / 1e9:.1f} GB of weights, {free / 1e9:.1f} GB of free memory: "
        "its layers are read from disk one after the other",
        file=sys.stderr,
    )
    return {"": "disk"}


def watch(model: Any, reading: Reading) -> None:
    """Note in `reading` the largest activation and the first output that is not finite."""
    import torch

    def note(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            found = output[0] if isinstance(output, tuple) else output
            if not isinstance(found, torch.Tensor) or not found.is_floating_point():
                return
            largest = float(found.abs().amax())
            if largest > reading.largest[0] and largest < float("inf"):
                reading.largest = (largest, name)
            elif not largest < float("inf") and not reading.not_finite:
                reading.not_finite = name

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))


def divergence(reference: list[torch.Tensor], published: list[torch.Tensor]) -> float:
    """Mean over positions of sum p log(p / q), nats: p from `reference`, q from `published`."""
    import torch

    total, positions = 0.0, 0
    for p_all, q_all in zip(reference, published, strict=True):
        for p, q in zip(p_all.split(ROWS), q_all.split(ROWS), strict=True):
            log_p, log_q = (torch.log_softmax(part.double(), dim=-1) for part in (p, q))
            total += float((log_p.exp() * (log_p - log_q)).sum())
            positions += len(p)
    return max(0.0, total / positions) if total == total else float("nan")
