"""A profile on a cluster, and one of its ranks simulated: what a worker process is asked for by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows.profile import compose
from stages.cluster import load_cluster
from stages.configuration import check
from stages.pretrain.plan import Plan
from stages.settings import Settings

if TYPE_CHECKING:
    from stages.pretrain.simulate.rank import Peak


def plan_of(profile: str, cluster: str) -> Plan:
    """The plan that training would follow. Raises `UserError` when the batch does not divide over the mesh."""
    os.environ["GPTOSS_CLUSTER"] = cluster
    settings = check(Settings, compose(profile), origin=f"profiles/{profile}.yaml")
    precision = settings.pretrain.precision
    plan = Plan(settings=settings, cluster=load_cluster(), precision=precision, state=Path(), attempt="")
    plan.layout  # noqa: B018 - raises when the batch does not divide
    return plan


def simulate(profile: str, cluster: str, pp_rank: int) -> Peak:
    """One rank's peak, in a process of its own."""
    from stages.pretrain.simulate.rank import simulated_peak

    return simulated_peak(plan_of(profile, cluster), pp_rank)
