"""Early stopping: the weights with the lowest held-out loss are kept beside the checkpoints, and come back at the end.

(Prechelt 1998, "Early stopping, but when?", criterion UP: the loss did not improve `patience` measurements in a row.)
Only trained weights are kept: with an adapter these are megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import atomic_file


class Best:
    """The best weights so far, in `state/best.safetensors`."""

    def __init__(self, state: Path, patience: int) -> None:
        self.path = state / "best.safetensors"
        self.patience = patience

    def consider(self, model: Any, losses: Sequence[float]) -> bool:
        """Keep the weights if the last of the held-out losses is the lowest; returns whether to stop."""
        from safetensors.torch import save_file

        lowest = min(range(len(losses)), key=lambda number: losses[number])
        if lowest == len(losses) - 1:
            with atomic_file(self.path) as partial:
                save_file({name: value.contiguous() for name, value in _trained(model).items()}, partial)
        return len(losses) - 1 - lowest >= self.patience

    def restore(self, model: Any) -> None:
        """Give the model its best weights back."""
        import torch
        from safetensors.torch import load_file

        kept, trained = load_file(self.path), _trained(model)
        with torch.no_grad():
            for name, value in trained.items():
                value.copy_(kept[name])


def _trained(model: Any) -> dict[str, Any]:
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
