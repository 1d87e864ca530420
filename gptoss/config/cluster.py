"""Where a run executes: `infra/clusters/NAME.yaml`, chosen by `GPTOSS_CLUSTER`, never part of a hash.

The same `params.yaml` on another cluster gives the same model up to floating point.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from gptoss.config.section import Section
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.core.errors import UserError

CLUSTERS = Path("infra/clusters")


class MeshConfig(Section):
    """Sizes of the device mesh `(pp, dp_replicate, dp_shard, tp)`, the last axis varying fastest over the ranks."""

    # The order of the axes decides who talks to whom: tensor parallelism exchanges activations in every layer, so its
    # ranks are neighbours (one node, NVLink); pipeline stages exchange them once per micro-batch, so they are farthest.
    pp: PositiveInt
    """Pipeline ranks: each holds one or several ranges of layers."""
    dp_replicate: PositiveInt
    """Replicas of the sharded model; above 1, sharding is hybrid (HSDP)."""
    dp_shard: PositiveInt
    """Ranks over which each parameter and its optimizer state are sharded (FSDP)."""
    tp: PositiveInt = 1
    """Tensor-parallel ranks: each holds a slice of every matrix and, between them, a slice of the sequence."""

    @property
    def dp(self) -> int:
        """Data-parallel ranks: replicas times shards."""
        return self.dp_replicate * self.dp_shard

    @property
    def size(self) -> int:
        """Ranks in the mesh."""
        return self.pp * self.dp * self.tp


class PipelineConfig(Section):
    """Schedule of micro-batches over the pipeline ranks."""

    # zero_bubble (Qi et al. 2023) fills the idle time of 1f1b with the gradients of weights, at the price of memory.
    schedule: Literal["1f1b", "interleaved_1f1b", "zero_bubble"] = "1f1b"
    stages_per_rank: PositiveInt = 1
    """Virtual pipeline stages: ranges of layers that one pipeline rank holds."""


class CheckpointsConfig(Section):
    """When the state of a training run is saved, and how long it is kept."""

    # Not in params.yaml: how often a run is saved depends on how often the machine fails, and changes no result.
    every_steps: PositiveInt
    every_seconds: PositiveFloat | None = None
    """Also save when the last save is this long ago, by the clock of rank 0."""
    keep: PositiveInt
    """Number of newest checkpoints to keep."""
    keep_every: PositiveInt | None = None
    """Checkpoints of steps divisible by this are permanent: they also outlive the run (`.runs/kept`)."""

    def is_permanent(self, step: int) -> bool:
        """True when the checkpoint of this step is never deleted."""
        return self.keep_every is not None and step % self.keep_every == 0

    @model_validator(mode="after")
    def _permanent_ones_are_saved(self) -> CheckpointsConfig:
        # Otherwise the steps of permanent checkpoints would never be saved at all.
        if self.keep_every and self.keep_every % self.every_steps:
            raise ValueError(
                f"keep_every({self.keep_every}) is not a multiple of every_steps({self.every_steps}), at which they "
                f"are saved: set it to {-(-self.keep_every // self.every_steps) * self.every_steps}"
            )
        return self


class SlurmConfig(Section):
    """Options for sbatch, in addition to the numbers of nodes, tasks, CPUs and GPUs, which follow from the cluster
    file. What is not set has the site's default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = Field(None, pattern=r"^(\d+-)?\d+(:\d+){0,2}$")
    """Time limit as sbatch writes it; a run that needs longer is requeued. Must be quoted: YAML 1.1 reads 12:00:00 as
    the number 43200."""
    # Instead of a field for each of sbatch's hundred options.
    options: tuple[str, ...] = ()
    """Further options, such as `--exclusive` or `--constraint=a100`."""


class ClusterConfig(Section):
    """One cluster file."""

    nodes: PositiveInt
    processes_per_node: PositiveInt
    # OMP_NUM_THREADS of a rank. PyTorch's default, all cores for every process, makes ranks of one machine compete.
    threads_per_process: PositiveInt
    # Explicit, never detected: on a machine with GPUs the CPU configurations give the same bytes as anywhere else.
    device: Literal["cpu", "cuda"]
    launcher: Literal["torchrun", "external", "slurm"]
    """`torchrun`: the stage starts the ranks; on several nodes, `python -m gptoss.launch.node` on each of them does.
    `slurm`: the stage submits a job that starts the ranks, and follows it. `external`: another launcher starts
    `python -m gptoss.launch.external` as every rank, with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT in
    the environment (or Slurm's variables, which srun sets)."""
    slurm: SlurmConfig | None = None
    mesh: MeshConfig
    micro_batch: PositiveInt
    """Sequences in one micro-batch of the pipeline."""
    pipeline: PipelineConfig = PipelineConfig()
    activation_checkpointing: Literal["none", "selective", "full"]
    """What the backward pass recomputes: nothing; all except attention and every other matrix product; everything."""
    compile: bool = False
    """Compile each decoder layer with `torch.compile`."""
    checkpoints: CheckpointsConfig
    # Not for several torchrun nodes, where the scheduler restarts all of them together (gptoss/launch/node.py).
    restarts: NonNegativeInt = 0
    """How often all ranks are restarted from the last checkpoint, without a person, after one of them died."""
    watchdog_seconds: PositiveFloat | None = None
    """The ranks are considered hung, and end, after this long without a finished step, validation or save. Starting up
    does not count. Null: never."""
    # Slurm's signal comes this long before the time limit; on Kubernetes terminationGracePeriodSeconds must exceed it.
    grace_seconds: PositiveFloat = 120.0
    """Time in which a run that is asked to stop must finish its step and save, before its processes are killed."""
    log_every_steps: PositiveInt
    parallel_stages: PositiveInt
    """DVC stages that run at the same time."""
    data: Literal["native", "ray"] = "native"
    """Where the tasks of data stages run: in processes on this machine, or on the Ray cluster at `address`."""
    data_workers: PositiveInt = 1
    """Tasks of a data stage that run at the same time; on Ray at most the cores of the cluster."""
    address: str = ""
    """Address of the Ray cluster: `HOST:PORT`, or `auto` for the one that this machine belongs to."""

    # Mistakes in a cluster file should fail in the first second, not after hours in a queue: hence checks of every
    # combination that is known not to work.

    @model_validator(mode="after")
    def _slurm_is_used(self) -> ClusterConfig:
        if self.slurm and self.launcher != "slurm":
            raise ValueError(
                f"there is a slurm section, but launcher is {self.launcher}: set launcher: slurm, or remove the section"
            )
        return self

    @model_validator(mode="after")
    def _ray_has_an_address(self) -> ClusterConfig:
        if (self.data == "ray") != bool(self.address):
            raise ValueError(
                f"data is {self.data} and address is {self.address!r}: `data: ray` needs the address of its cluster "
                "(`auto` or HOST:PORT), `data: native` has none"
            )
        return self

    @model_validator(mode="after")
    def _mesh_fills_the_world(self) -> ClusterConfig:
        world = self.nodes * self.processes_per_node
        if self.mesh.size != world:
            mesh = self.mesh
            raise ValueError(
                f"pp({mesh.pp}) * dp_replicate({mesh.dp_replicate}) * dp_shard({mesh.dp_shard}) * tp({mesh.tp}) = "
                f"{mesh.size} != nodes({self.nodes}) * processes_per_node({self.processes_per_node}) = {world}: "
                f"set mesh.dp_shard to {max(1, world // (mesh.pp * mesh.dp_replicate * mesh.tp))} "
                "or change the processes"
            )
        return self

    @model_validator(mode="after")
    def _schedule_can_run(self) -> ClusterConfig:
        # torch.distributed.pipelining would fail with an assertion for each of these, in every rank, after start-up.
        schedule, per_rank = self.pipeline.schedule, self.pipeline.stages_per_rank
        if schedule == "1f1b" and per_rank > 1:
            raise ValueError(
                f"pipeline.schedule 1f1b runs one stage per rank, stages_per_rank is {per_rank}: "
                "set pipeline.stages_per_rank to 1 or pipeline.schedule to interleaved_1f1b"
            )
        if schedule != "1f1b" and self.mesh.pp == 1:
            raise ValueError(f"pipeline.schedule {schedule} needs a pipeline and mesh.pp is 1: set it to 1f1b")
        if schedule == "interleaved_1f1b" and per_rank == 1:
            raise ValueError(
                "pipeline.schedule interleaved_1f1b needs several stages per rank, stages_per_rank is 1: "
                "set pipeline.stages_per_rank to 2 or pipeline.schedule to 1f1b"
            )
        if schedule == "zero_bubble" and self.activation_checkpointing != "none":
            raise ValueError(
                "pipeline.schedule zero_bubble computes the gradients of inputs and of weights in separate backward "
                f"passes; with activation_checkpointing {self.activation_checkpointing} each of them would run the "
                "layers again: set activation_checkpointing to none, or pipeline.schedule to interleaved_1f1b"
            )
        if schedule == "zero_bubble" and self.compile:
            raise ValueError(
                "pipeline.schedule zero_bubble splits each layer's backward pass, a compiled layer has a single one: "
                "set compile to false, or pipeline.schedule to interleaved_1f1b"
            )
        return self


def cluster_name() -> str:
    """The selected cluster: `GPTOSS_CLUSTER`, or `local`."""
    return os.environ.get("GPTOSS_CLUSTER", "local")


def load_cluster(name: str | None = None) -> ClusterConfig:
    """Read and check `infra/clusters/NAME.yaml`. Raises `UserError` with the names of all clusters."""
    name = name or cluster_name()
    path = CLUSTERS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in CLUSTERS.glob("*.yaml")))
        raise UserError(f"GPTOSS_CLUSTER={name}: {path} does not exist", f"choose one of: {known}")
    return check(ClusterConfig, load_yaml(path), origin=str(path))
