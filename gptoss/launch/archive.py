"""Checkpoints that outlive their run (`checkpoints.keep_every` in the cluster file)."""

from __future__ import annotations

import shutil

from gptoss.core import paths
from gptoss.train.run_config import RunConfig


def archive_checkpoints(run_config: RunConfig) -> None:
    """Move permanent checkpoints from the state folder, which `run_stage` removes after the stage, to `.runs/kept`.

    A checkpoint already there is left alone: it comes from an earlier run of the same inputs, whose bytes are equal.
    """
    for path in sorted((run_config.state / "checkpoints").glob("step-*")):
        # A suffix marks a checkpoint that is unfinished (.partial) or failed its checksums (.damaged).
        if path.suffix or not run_config.cluster.checkpoints.is_permanent(int(path.name.removeprefix("step-"))):
            continue
        archived = paths.RUNS / "kept" / run_config.state.name / path.name
        archived.parent.mkdir(parents=True, exist_ok=True)
        if archived.exists():
            shutil.rmtree(path)
        else:
            path.rename(archived)
