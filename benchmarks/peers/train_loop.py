"""Our whole training loop as a contestant of `benchmarks/pretrain.py`: `train_loop.py RUN_CONFIG.json STEPS [native]`.

Takes turns as `train_step.py` does. With several ranks only the first waits for turns; the others wait for it in the
collectives of the step.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from gptoss.core.signals import StopRequest
from gptoss.launch.watchdog import Watchdog
from gptoss.models import attention, precision
from gptoss.train import loop
from gptoss.train.parallel_context import init_parallel_context
from gptoss.train.run_config import RunConfig
from gptoss.train.step import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from train_step import Turns


def main(config_file: str, steps: str, arithmetic: str = "ours") -> None:
    """Train until there are no more turns. `native`: float16 matrix products by the processor's own kernels."""
    # Turns are counted in optimizer steps, so that micro-batches and logging fall inside a turn.
    run_config = RunConfig.read(Path(config_file))
    turns = Turns(int(steps))

    class TurnTakingTrainer(Trainer):
        def step(self, *arguments: Any) -> Any:
            if os.environ["RANK"] == "0":
                turns.step()
            return super().step(*arguments)

    # Replaced in the module: only this benchmark needs a hook before each step.
    loop.Trainer = TurnTakingTrainer  # type: ignore[misc]
    if arithmetic == "native":
        attention.upcasts = precision.upcasts = lambda tensor: False
    with init_parallel_context(run_config.cluster) as parallel:
        watchdog = Watchdog(None, run_config.state, parallel.rank)
        loop.train(run_config, parallel, StopRequest(lambda: None), watchdog, {"restarts": 0})


if __name__ == "__main__":
    main(*sys.argv[1:])
