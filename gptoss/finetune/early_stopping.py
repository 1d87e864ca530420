"""Early stopping: the weights with the lowest held-out loss are saved beside the checkpoints and restored at the end.

Prechelt 1998, "Early stopping, but when?", criterion UP: the loss did not improve `patience` measurements in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gptoss.core.atomic_files import atomic_file


class BestWeights:
    """The trained weights with the lowest held-out loss, in `state/best.safetensors`."""

    def __init__(self, state: Path, patience: int) -> None:
        self.path = state / "best.safetensors"
        self.patience = patience

    def update(self, model: Any, losses: Sequence[float]) -> bool:
        """Save the weights if the last of the held-out losses is the lowest. Returns True if training has to stop."""
        lowest = min(range(len(losses)), key=lambda number: losses[number])
        if lowest == len(losses) - 1:
            with atomic_file(self.path) as partial:
                save_file({name: value.contiguous() for name, value in _trained(model).items()}, partial)
        return len(losses) - 1 - lowest >= self.patience

    def restore(self, model: Any) -> None:
        """Set the model to its best weights."""
        best = load_file(self.path)
        with torch.no_grad():
            for name, value in _trained(model).items():
                value.copy_(best[name])


def _trained(model: Any) -> dict[str, Any]:
    # With an adapter these are megabytes, where the whole model may be gigabytes.
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
