"""Where a run executes: `infra/clusters/NAME.yaml`, chosen by `GPTOSS_CLUSTER`, never part of a hash.

The same `params.yaml` on another cluster gives the same model up to floating point.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from stages.configuration import Section, check, load_yaml
from stages.errors import UserError

CLUSTERS = Path("infra/clusters")


class Mesh(Section):
    """Sizes of the device mesh `(pp, dp_replicate, dp_shard)`."""

    pp: PositiveInt
    dp_replicate: PositiveInt
    dp_shard: PositiveInt

    @property
    def dp(self) -> int:
        """Data-parallel ranks: replicas times shards."""
        return self.dp_replicate * self.dp_shard

    @property
    def size(self) -> int:
        """Ranks in the mesh."""
        return self.pp * self.dp


class Checkpoints(Section):
    """When the state of a training run is saved, and for how long."""

    every_steps: PositiveInt
    every_seconds: PositiveFloat | None = None
    """Also when the last save is this long ago, by the clock of rank 0."""
    keep: PositiveInt
    """The newest so many are kept."""
    keep_every: PositiveInt | None = None
    """Those of steps that this divides are kept for good, after the run too."""

    @model_validator(mode="after")
    def _kept_ones_are_saved(self) -> Checkpoints:
        if self.keep_every and self.keep_every % self.every_steps:
            raise ValueError(
                f"keep_every({self.keep_every}) is no multiple of every_steps({self.every_steps}), at which they "
                f"are saved: set it to {-(-self.keep_every // self.every_steps) * self.every_steps}"
            )
        return self


class Cluster(Section):
    """One cluster file."""

    nodes: PositiveInt
    processes_per_node: PositiveInt
    threads_per_process: PositiveInt
    device: Literal["cpu", "cuda"]
    launcher: Literal["torchrun", "external"]
    """`torchrun`: the stage starts its own ranks on this node; `external`: the ranks were started by
    srun, torchrun or a job controller, which set RANK, WORLD_SIZE and MASTER_ADDR."""
    mesh: Mesh
    micro_batch: PositiveInt
    """Sequences in one micro-batch of the pipeline."""
    activation_checkpointing: bool
    checkpoints: Checkpoints
    restarts: NonNegativeInt = 0
    """How often all ranks start again from the last checkpoint, by themselves, after one of them died."""
    watchdog_seconds: PositiveFloat | None = None
    """Without a finished step for so long (validations and saves count as steps, starting up does not) the ranks are
    taken for hung and end; null: wait forever."""
    grace_seconds: PositiveFloat = 120.0
    """What a run that is asked to stop gets to finish its step and save, before its processes are killed."""
    log_every_steps: PositiveInt
    parallel_stages: PositiveInt = Field(description="DVC stages that run at the same time")
    data: Literal["native", "ray"] = "native"
    """Where the tasks of data stages run: in processes of this machine, or on the Ray cluster at `address`."""
    data_workers: PositiveInt = 1
    """Tasks of a data stage that run at the same time; on Ray at most the cores of the cluster."""
    address: str = ""
    """Of the Ray cluster: `HOST:PORT`, or `auto` for the one this machine belongs to."""

    @model_validator(mode="after")
    def _ray_has_an_address(self) -> Cluster:
        if (self.data == "ray") != bool(self.address):
            raise ValueError(
                f"data is {self.data} and address is {self.address!r}: `data: ray` needs the address of its cluster "
                "(`auto` or HOST:PORT), `data: native` has none"
            )
        return self

    @model_validator(mode="after")
    def _mesh_fills_the_world(self) -> Cluster:
        world = self.nodes * self.processes_per_node
        if self.mesh.size != world:
            mesh = self.mesh
            raise ValueError(
                f"pp({mesh.pp}) * dp_replicate({mesh.dp_replicate}) * dp_shard({mesh.dp_shard}) = {mesh.size} "
                f"!= nodes({self.nodes}) * processes_per_node({self.processes_per_node}) = {world}: "
                f"set mesh.dp_shard to {max(1, world // (mesh.pp * mesh.dp_replicate))} or change the processes"
            )
        return self


def cluster_name() -> str:
    """The chosen cluster: `GPTOSS_CLUSTER`, or `local`."""
    return os.environ.get("GPTOSS_CLUSTER", "local")


def load_cluster(name: str | None = None) -> Cluster:
    """Read and check `infra/clusters/NAME.yaml`. Raises `UserError` naming the clusters there are."""
    name = name or cluster_name()
    path = CLUSTERS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in CLUSTERS.glob("*.yaml")))
        raise UserError(f"GPTOSS_CLUSTER={name}: {path} does not exist", f"choose one of: {known}")
    return check(Cluster, load_yaml(path), origin=str(path))
