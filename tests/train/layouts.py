"""Program of one rank: train in one layout after another and write losses, norms and weights.

`python -m tests.train.layouts RUN.json...`, each file a `Run`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from gptoss.train.parallel_context import ParallelContext, init_parallel_context
from gptoss.train.run_config import RunConfig
from gptoss.train.sharding import local_tensor
from gptoss.train.step import Trainer


@dataclass
class Run:
    """Some steps of one run configuration."""

    run_config: str
    """File."""
    results: str
    """Folder."""
    steps: int
    port: int
    overflows: list[tuple[int, int, float]] = field(default_factory=list)
    """(step, rank, value): one gradient element of that rank becomes that value."""
    omitted: list[int] = field(default_factory=list)
    """Steps that are left out: the loss scale is halved as if they had overflowed."""

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


class OverflowingTrainer(Trainer):
    """Overwrites a gradient element on one rank at some steps."""

    overflows: dict[tuple[int, int], float]

    def forward_backward(self, step: int, factor: float) -> Tensor:
        loss = super().forward_backward(step, factor)
        value = self.overflows.get((step, self.parallel.rank))
        if value is not None:
            local_tensor(self.parameters[-1][1].grad).view(-1)[0] = value
        return loss


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    tensors = trainer.state_dict().items()
    whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in tensors}
    return {name: value.numpy().copy() for name, value in whole.items()}


def take_steps(run: Run, parallel: ParallelContext) -> None:
    trainer = OverflowingTrainer(RunConfig.read(Path(run.run_config)), parallel)
    trainer.overflows = {(step, rank): value for step, rank, value in run.overflows}
    steps = []
    for step in range(1, run.steps + 1):
        if step in run.omitted:
            trainer.scaler.update(math.inf)
            continue
        result = trainer.step(step)
        steps.append([step, result.loss, result.gradient_norm, result.loss_scale])
    folder = Path(run.results)
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"steps": steps, "validation": trainer.validate(), "scaler": trainer.scaler.state_dict()}
    (folder / f"rank-{parallel.rank}.json").write_text(json.dumps(summary))
    whole = weights(trainer)  # collective
    if parallel.dp_rank == 0 and parallel.tp_rank == 0:
        np.savez(folder / f"pp-{parallel.pp_rank}.npz", **whole)


def main(files: list[str]) -> None:
    for file in files:
        run = Run(**json.loads(Path(file).read_text()))
        os.environ["MASTER_PORT"] = str(run.port)
        with init_parallel_context(RunConfig.read(Path(run.run_config)).cluster) as parallel:
            torch.manual_seed(parallel.rank)
            take_steps(run, parallel)


if __name__ == "__main__":
    main(sys.argv[1:])
