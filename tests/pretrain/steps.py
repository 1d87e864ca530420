"""A rank that takes some training steps and writes what it saw. An overflow can be put into one rank's gradients:
`python -m tests.pretrain.steps RESULTS STEPS [STEP RANK]...`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.pretrain.mesh import joined
from stages.pretrain.optimizer import gradients
from stages.pretrain.plan import PLAN, Plan
from stages.pretrain.train import Trainer


class Overflowing(Trainer):
    """Gets one infinite gradient element on one rank at each of some steps."""

    overflows: set[tuple[int, int]]

    def backward(self, step: int, factor: float) -> Tensor:
        loss = super().backward(step, factor)
        if (step, self.ranks.rank) in self.overflows:
            gradients(self.module)[-1].view(-1)[0] = torch.inf
        return loss


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: value.full_tensor().numpy().copy() for name, value in trainer.tensors().items()}


def main(results: Path, steps: int, *overflows: int) -> None:
    plan = Plan.read(Path(os.environ[PLAN]))
    with joined(plan.cluster) as ranks:
        trainer = Overflowing(plan, ranks)
        trainer.overflows = set(zip(overflows[::2], overflows[1::2], strict=True))
        seen = []
        for step in range(1, steps + 1):
            before = weights(trainer)
            measured = trainer.step(step)
            after = weights(trainer)
            moved = any(not np.array_equal(before[name], after[name]) for name in before)
            seen.append([measured.loss, measured.gradient_norm, measured.loss_scale, moved])
        validation = trainer.validate()
        (results / f"rank-{ranks.rank}.json").write_text(json.dumps({"steps": seen, "validation": validation}))
        if ranks.dp_rank == 0:
            np.savez(results / f"stage-{ranks.stage}.npz", **after)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
