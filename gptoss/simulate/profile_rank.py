"""A profile on a cluster, and one of its ranks simulated: what a worker process is asked for by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.config.cluster import load_cluster
from gptoss.config.profiles import compose
from gptoss.config.section import check
from gptoss.config.settings import Settings
from gptoss.train.run_config import RunConfig

if TYPE_CHECKING:
    from gptoss.simulate.simulated_rank import Peak


def plan_of(profile: str, cluster: str) -> RunConfig:
    """The plan that training would follow. Raises `UserError` when the batch does not divide over the mesh."""
    os.environ["GPTOSS_CLUSTER"] = cluster
    settings = check(Settings, compose(profile), origin=f"profiles/{profile}.yaml")
    precision = settings.pretrain.precision
    plan = RunConfig(settings=settings, cluster=load_cluster(), precision=precision, state=Path(), attempt="")
    plan.layout  # noqa: B018 - raises when the batch does not divide
    return plan


def simulate(profile: str, cluster: str, pp_rank: int) -> Peak:
    """One rank's peak, in a process of its own."""
    from gptoss.simulate.simulated_rank import simulated_peak

    return simulated_peak(plan_of(profile, cluster), pp_rank)
