"""Our whole training loop as a contestant of `benchmarks/pretrain.py`: `train_loop.py PLAN.json STEPS [native]`.

Answers as `train_step.py` does; with several ranks, the first keeps the pace and the others wait for it in the sums.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from stages.pretrain import attention, loop, precision
from stages.pretrain.mesh import joined
from stages.pretrain.plan import Plan
from stages.pretrain.stop import StopRequest
from stages.pretrain.train import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from train_step import Turns


def main(plan_file: str, steps: str, arithmetic: str = "ours") -> None:
    """Train until there are no more turns. `native`: half products as the processor offers them, not ours."""
    plan = Plan.read(Path(plan_file))
    turns = Turns(int(steps))

    class Paced(Trainer):
        def step(self, *arguments: Any) -> Any:
            if os.environ["RANK"] == "0":
                turns.step()
            return super().step(*arguments)

    loop.Trainer = Paced  # type: ignore[misc]
    if arithmetic == "native":
        attention.widened = precision.widened = lambda tensor: False
    with joined(plan.cluster) as ranks:
        loop.train(plan, ranks, StopRequest(lambda: None), {"restarts": 0})


if __name__ == "__main__":
    main(*sys.argv[1:])
