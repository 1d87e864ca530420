"""The ranks of a run and the device mesh `(pp, dp_replicate, dp_shard, tp)` they form.

Tensors travel over NCCL on GPUs and gloo on CPUs; checkpoints and agreements always over gloo.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from gptoss.config.cluster import ClusterConfig
from gptoss.core.errors import ClusterError, Preempted
from gptoss.core.memory import keep_freed_memory
from gptoss.models.precision import accumulate_in_float32

PATIENCE = datetime.timedelta(minutes=30)
"""How long a rank waits for the others before it fails."""


@dataclass(frozen=True)
class ParallelContext:
    """This rank's place in the mesh."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh
    checkpoint_group: Any
    """A gloo group of its own: an asynchronous save on the default group deadlocks with training."""

    @property
    def pp_rank(self) -> int:
        """This rank's place in the pipeline."""
        return int(self.mesh["pp"].get_local_rank())

    @property
    def pp(self) -> int:
        """Ranks in the pipeline."""
        return int(self.mesh["pp"].size())

    @property
    def tp_rank(self) -> int:
        """Which part of every matrix, and of a sequence's positions, this rank holds."""
        return int(self.mesh["tp"].get_local_rank())

    @property
    def tp(self) -> int:
        """Tensor-parallel ranks; they read the same sequences."""
        return int(self.mesh["tp"].size())

    @property
    def dp_rank(self) -> int:
        """Which part of a global batch this rank reads."""
        shards = self.mesh["dp_shard"]
        return int(self.mesh["dp_replicate"].get_local_rank() * shards.size() + shards.get_local_rank())

    @property
    def dp_mesh(self) -> DeviceMesh:
        """The mesh over which parameters are sharded (and replicated, when there are replicas)."""
        replicated = self.mesh["dp_replicate"].size() > 1
        return self.mesh["dp_replicate", "dp_shard"] if replicated else self.mesh["dp_shard"]

    def finish(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def sum(self, values: Sequence[Any]) -> list[float]:
        """Sums over all ranks, in float64. The host waits for the device."""
        wide = [torch.as_tensor(value, device=self.device).double() for value in values]
        total = torch.stack(wide)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def max(self, values: Tensor) -> list[float]:
        """Maxima over all ranks, element by element."""
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return [float(value) for value in values.tolist()]

    def broadcast(self, value: Any) -> Any:
        """Rank 0's `value`, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.checkpoint_group)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's `value`, on every rank."""
        values = [None] * self.size
        dist.all_gather_object(values, value, group=self.checkpoint_group)
        return values

    def barrier(self, patience: datetime.timedelta = PATIENCE) -> None:
        """Wait for all ranks."""
        dist.barrier(group=self.checkpoint_group, timeout=patience)


@contextmanager
def init_parallel_context(cluster: ClusterConfig) -> Iterator[ParallelContext]:
    """Join the process group that the launcher's environment describes, and leave it when all ranks do: in the end, or
    stopped on request. A rank that fails alone does not take its leave, which over NCCL would wait for the others: it
    has to say why it fails, and its process to end."""
    device = _device(cluster)
    torch.set_num_threads(cluster.threads_per_process)
    keep_freed_memory()
    if device.type == "cuda":
        accumulate_in_float32()
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    size = dist.get_world_size()
    try:
        if size != cluster.mesh.size:
            raise ClusterError(
                f"{size} ranks were started; nodes({cluster.nodes}) * processes_per_node"
                f"({cluster.processes_per_node}) = {cluster.mesh.size}",
                "start as many ranks as the cluster file says, or change the file",
            )
        checkpoint_group = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield ParallelContext(dist.get_rank(), size, device, device_mesh(cluster, device), checkpoint_group)
    except Preempted:
        dist.destroy_process_group()
        raise
    except BaseException:
        if size == 1:
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def device_mesh(cluster: ClusterConfig, device: torch.device) -> DeviceMesh:
    """The mesh that the ranks of the process group form."""
    mesh = cluster.mesh
    axes = {"pp": mesh.pp, "dp_replicate": mesh.dp_replicate, "dp_shard": mesh.dp_shard, "tp": mesh.tp}
    return init_device_mesh(device.type, tuple(axes.values()), mesh_dim_names=tuple(axes))


def _device(cluster: ClusterConfig) -> torch.device:
    if cluster.device == "cpu":
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= found:
        raise ClusterError(
            f"the cluster file says device: cuda; local rank {local_rank} needs GPU {local_rank}; {found} are visible",
            "choose a CPU cluster (GPTOSS_CLUSTER=local), or set processes_per_node to the number of GPUs",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
