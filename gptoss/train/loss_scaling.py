"""Dynamic loss scaling across the whole device mesh."""

from __future__ import annotations

import math


class MeshGradScaler:
    """Dynamic loss scaling (Micikevicius et al. 2018, section 3.2) with one verdict for the whole mesh.

    The rule and its constants are those of `torch.amp.GradScaler`, whose own verdict reaches no further than one
    FSDP mesh: with pipeline stages, an overflow on one stage would let the others step. Here the verdict is taken
    from the gradient norm summed over every rank, which is infinite or NaN exactly when some gradient anywhere is,
    so all ranks step or skip alike; and since the state is plain numbers changed by that verdict alone, it is the
    same everywhere. Without scaling (`initial` None) the scale stays 1 and a non-finite step is still skipped.
    """

    GROWTH, BACKOFF = 2.0, 0.5

    def __init__(self, initial: float | None, growth_interval: int) -> None:
        self.dynamic = initial is not None
        self.scale = 1.0 if initial is None else initial
        self.growth_interval = growth_interval
        self.good_steps = 0
        self.skipped = 0
        self.skipped_in_a_row = 0

    def update(self, gradient_norm: float) -> bool:
        """Whether to step, given the global norm of the unscaled gradients; moves the scale for the next step."""
        if math.isfinite(gradient_norm):
            self.skipped_in_a_row = 0
            self.good_steps += 1
            if self.dynamic and self.good_steps == self.growth_interval:
                self.scale *= self.GROWTH
                self.good_steps = 0
            return True
        self.skipped += 1
        self.skipped_in_a_row += 1
        self.good_steps = 0
        if self.dynamic:
            self.scale *= self.BACKOFF
        return False

    def state(self) -> dict[str, float]:
        """What a checkpoint must hold."""
        return {
            "scale": self.scale,
            "good_steps": self.good_steps,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Continue from `state()`."""
        self.scale = state["scale"]
        self.good_steps = int(state["good_steps"])
        self.skipped = int(state["skipped"])
        self.skipped_in_a_row = int(state["skipped_in_a_row"])
