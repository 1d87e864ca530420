"""Ranks that measure the live tensor storage of their training steps, one plan after another:
`python -m tests.pretrain.memory PORT:PLAN.json...`; the results are beside the plans."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from stages.pretrain.mesh import joined
from stages.pretrain.plan import Plan
from stages.pretrain.simulate.rank import measured_peak
from stages.pretrain.train import Trainer


def main(runs: list[str]) -> None:
    for run in runs:
        os.environ["MASTER_PORT"], _, file = run.partition(":")
        plan = Plan.read(Path(file))
        with joined(plan.cluster) as ranks:
            peak = measured_peak(Trainer(plan, ranks), steps=2)
        Path(f"{file}.{ranks.rank}").write_text(json.dumps(asdict(peak) | {"activations": peak.activations}))


if __name__ == "__main__":
    main(sys.argv[1:])
