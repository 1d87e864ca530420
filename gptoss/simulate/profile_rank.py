"""A profile on a cluster, and the simulation of one of its ranks: the function that worker processes run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.config.profiles import compose
from gptoss.config.settings import Settings
from gptoss.config.yaml_sections import check
from gptoss.train.run_config import RunConfig

if TYPE_CHECKING:
    from gptoss.simulate.simulated_rank import PeakMemory


def load_run_config(profile: str, cluster: str) -> RunConfig:
    """The run configuration that training would use. Raises `UserError` when the batch does not divide."""
    # Error messages name the cluster file by this variable.
    os.environ["GPTOSS_CLUSTER"] = cluster
    settings = check(Settings, compose(profile), origin=f"profiles/{profile}.yaml")
    return RunConfig.create(settings, Path())


def simulate_rank(profile: str, cluster: str, pp_rank: int) -> PeakMemory:
    """Peak memory of the first rank at a pipeline position. Needs a process of its own: it fakes the process group."""
    from gptoss.simulate.simulated_rank import simulate_peak_memory

    return simulate_peak_memory(load_run_config(profile, cluster), pp_rank)
