"""Program of one rank: measure the live tensor storage of real training steps, one run after another.

`python -m tests.simulate.memory PORT:RUN_CONFIG.json...`; the results are written beside the files.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from gptoss.simulate.simulated_rank import measure_peak_memory
from gptoss.train.parallel_context import init_parallel_context
from gptoss.train.run_config import RunConfig
from gptoss.train.step import Trainer


def main(runs: list[str]) -> None:
    for run in runs:
        os.environ["MASTER_PORT"], _, file = run.partition(":")
        run_config = RunConfig.read(Path(file))
        with init_parallel_context(run_config.cluster) as parallel:
            peak = measure_peak_memory(Trainer(run_config, parallel), steps=2)
        Path(f"{file}.{parallel.rank}").write_text(json.dumps(asdict(peak) | {"activations": peak.activations}))


if __name__ == "__main__":
    main(sys.argv[1:])
