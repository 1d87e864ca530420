"""Dynamic loss scaling across the whole device mesh (Micikevicius et al. 2018, section 3.2).

Float16 gradients below 6e-8 become zero, above 65504 infinite. So the loss is multiplied by a scale before backward,
gradients are divided by it before the update, and the scale follows the overflows: halved after one, doubled after
`growth_interval` steps without. Three decisions make this correct under FSDP2 x pipeline x tensor parallelism:

1. *Normalise in the loss, by the global token count.* `loss_factor` is `scale / batch_tokens`, with the tokens of the
   batch over all ranks and micro-batches. Then every partial gradient has the same magnitude on every mesh, gradients
   are plain sums (FSDP divide factor 1, schedule `scale_grads=False`, see `sharding.py`), and whether a step overflows
   does not depend on the layout. With the default averaging it did: 0, 1 and 2 skipped steps on one process, dp 2 and
   pp 2 in the same run. Normalising gradients afterwards is also easy to get wrong: torchtitan's were once too large by
   the number of valid tokens (pytorch/torchtitan#2972), DeepSpeed's scaled once per pipeline stage (DeepSpeed#8154).
2. *One verdict.* A step is taken or skipped on all ranks. The verdict is the finiteness of the gradient norm over the
   whole mesh, which clipping needs anyway: a sum of squares is infinite or NaN exactly when some element anywhere is.
3. *Plain numbers.* The state is a function of the verdicts alone, so it is equal on all ranks without communication,
   and it is saved in the checkpoint's manifest.

Why not `torch.amp.GradScaler`: the pipeline schedule calls backward itself (pytorch/torchtitan#803), and its found-inf
flag reaches no further than one FSDP mesh. Parameters carry no placement on the pipeline axis, so norm and flag are per
stage (pytorch/torchtitan#596): after an overflow on one stage the others step, and the run silently diverges.
`torch.distributed.fsdp.sharded_grad_scaler` is for FSDP1 and fails on FSDP2's DTensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gptoss.train.sharding import local_tensor

# The defaults of torch.amp.GradScaler, so that its published recipes carry over.
GROWTH_FACTOR, BACKOFF_FACTOR = 2.0, 0.5
STATE = ("scale", "good_steps", "skipped", "skipped_in_a_row")


class MeshGradScaler:
    """Loss scale of a run. Every rank holds one and updates it with the same numbers, so all of them agree.

    With `initial` None (float32, bfloat16) the scale stays 1; a step with non-finite gradients is still skipped.
    """

    def __init__(self, initial: float | None, growth_interval: int) -> None:
        self.dynamic = initial is not None
        self.scale = 1.0 if initial is None else initial
        self.growth_interval = growth_interval
        self.good_steps = 0
        self.skipped = 0
        self.skipped_in_a_row = 0

    def loss_factor(self, batch_tokens: int) -> float:
        """Factor on the summed cross-entropy, so that gradients are `scale` times those of the mean over the batch."""
        return self.scale / batch_tokens

    def unscaled_norm(self, sum_of_squares: float) -> float:
        """Norm of the unscaled gradients from the sum of squares of the scaled ones over the whole mesh (float64);
        NaN when it is not finite."""
        # float64 has room for the square of any float32 gradient, so an infinite sum means an infinite element.
        return math.sqrt(sum_of_squares) / self.scale if math.isfinite(sum_of_squares) else math.nan

    def update(self, norm: float) -> bool:
        """Return whether to step, given the global gradient norm; adjust the scale for the next step."""
        # The scale has no upper bound, as in torch: the overflow that a growth step too far causes costs one step.
        if math.isfinite(norm):
            self.skipped_in_a_row = 0
            self.good_steps += 1
            if self.dynamic and self.good_steps == self.growth_interval:
                self.scale *= GROWTH_FACTOR
                self.good_steps = 0
            return True
        # Also without scaling: one update with NaN would destroy the weights and the optimizer state for good.
        self.skipped += 1
        self.skipped_in_a_row += 1
        self.good_steps = 0
        if self.dynamic:
            self.scale *= BACKOFF_FACTOR
        return False

    def state_dict(self) -> dict[str, float]:
        """State for a checkpoint's manifest."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from `state_dict()`."""
        for name in STATE:
            setattr(self, name, state[name])


def clip_and_unscale(gradients: Sequence[Tensor], norm: float, max_norm: float, scale: float) -> None:
    """Divide gradients by `scale` and clip their unscaled global `norm` to `max_norm`: in place, in one pass over
    memory instead of the two of `unscale_` and `clip_grad_norm_`."""
    clip = min(1.0, max_norm / (norm + 1e-6))  # the epsilon of torch.nn.utils.clip_grad_norm_
    torch._foreach_mul_([local_tensor(gradient) for gradient in gradients], clip / scale)
