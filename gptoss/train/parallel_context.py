"""The process group of a training run and its device mesh `(pp, dp_replicate, dp_shard, tp)`.

Training tensors travel over NCCL on GPUs and gloo on CPUs. Checkpoints and Python objects always use a gloo group.
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

# torch's default for gloo. A cold page cache or a slow checkpoint on one node must not fail the run; a rank that hangs
# is the watchdog's job (`watchdog_seconds`), which names it.
COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)


@dataclass(frozen=True)
class ParallelContext:
    """Coordinates of this rank in the mesh, and the few collectives that training code calls itself."""

    rank: int
    world_size: int
    device: torch.device
    mesh: DeviceMesh
    gloo_group: Any
    """Separate from the default group: an asynchronous checkpoint on the default group deadlocks with the collectives
    of training (measured: `async_save` hung until the timeout on pp 2 x dp 2)."""

    @property
    def pp_rank(self) -> int:
        """Index of this rank in the pipeline."""
        return int(self.mesh["pp"].get_local_rank())

    @property
    def pp(self) -> int:
        """Ranks per pipeline."""
        return int(self.mesh["pp"].size())

    @property
    def tp_rank(self) -> int:
        """Index of the slice of every matrix, and of the sequence, that this rank holds."""
        return int(self.mesh["tp"].get_local_rank())

    @property
    def tp(self) -> int:
        """Tensor-parallel ranks; they read the same sequences."""
        return int(self.mesh["tp"].size())

    @property
    def dp_rank(self) -> int:
        """Index of the slice of the global batch that this rank reads."""
        shards = self.mesh["dp_shard"]
        return int(self.mesh["dp_replicate"].get_local_rank() * shards.size() + shards.get_local_rank())

    @property
    def dp_mesh(self) -> DeviceMesh:
        """Mesh for FSDP: one-dimensional, or (replicate, shard) for hybrid sharding."""
        replicated = self.mesh["dp_replicate"].size() > 1
        return self.mesh["dp_replicate", "dp_shard"] if replicated else self.mesh["dp_shard"]

    def synchronize(self) -> None:
        """Block the host until the device has finished all queued work."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def all_reduce_sum(self, values: Sequence[Any]) -> list[float]:
        """Sum scalars over all ranks in float64. Blocks the host."""
        # float64: a float32 sum of squares over thousands of ranks could overflow, or lose small addends.
        total = torch.stack([torch.as_tensor(value, device=self.device).double() for value in values])
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def all_reduce_max(self, values: Tensor) -> list[float]:
        """Elementwise maximum over all ranks of a 1-D tensor."""
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return [float(value) for value in values.tolist()]

    def broadcast_object(self, value: Any) -> Any:
        """Return rank 0's `value` on every rank."""
        # Over gloo: NCCL would send pickled bytes through GPU memory and need a device on every rank.
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.gloo_group)
        return box[0]

    def all_gather_object(self, value: Any) -> list[Any]:
        """Return every rank's `value` on every rank."""
        values = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.gloo_group)
        return values

    def barrier(self, timeout: datetime.timedelta = COLLECTIVE_TIMEOUT) -> None:
        dist.barrier(group=self.gloo_group, timeout=timeout)


@contextmanager
def init_parallel_context(cluster: ClusterConfig) -> Iterator[ParallelContext]:
    """Join the process group described by the launcher's environment variables; leave it at the end.

    Errors: `ClusterError` when the number of ranks or of visible GPUs does not match the cluster file.
    """
    device = _local_device(cluster)
    torch.set_num_threads(cluster.threads_per_process)
    keep_freed_memory()
    if device.type == "cuda":
        accumulate_in_float32()
    # Both backends on GPUs: collectives on CPU tensors need gloo.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=COLLECTIVE_TIMEOUT)
    world_size = dist.get_world_size()
    # A rank that fails alone must not destroy the process group: over NCCL that waits for the other ranks, and the
    # process could neither report its error nor exit.
    all_ranks_leave = world_size == 1
    try:
        if world_size != cluster.mesh.size:
            raise ClusterError(
                f"{world_size} ranks were started; nodes({cluster.nodes}) * processes_per_node"
                f"({cluster.processes_per_node}) = {cluster.mesh.size}",
                "start as many ranks as the cluster file says, or change the file",
            )
        gloo_group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
        yield ParallelContext(dist.get_rank(), world_size, device, device_mesh(cluster, device), gloo_group)
        all_ranks_leave = True
    except Preempted:
        all_ranks_leave = True
        raise
    finally:
        if all_ranks_leave:
            dist.destroy_process_group()


def device_mesh(cluster: ClusterConfig, device: torch.device) -> DeviceMesh:
    """Build the mesh of the default process group."""
    mesh = cluster.mesh
    # tp is innermost: its collectives are the most frequent and should stay within a node. pp is outermost: it sends
    # only activations between neighbours (Narayanan et al. 2021, section 3).
    axes = {"pp": mesh.pp, "dp_replicate": mesh.dp_replicate, "dp_shard": mesh.dp_shard, "tp": mesh.tp}
    return init_device_mesh(device.type, tuple(axes.values()), mesh_dim_names=tuple(axes))


def _local_device(cluster: ClusterConfig) -> torch.device:
    if cluster.device == "cpu":
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= visible:
        raise ClusterError(
            f"the cluster file says device: cuda; local rank {local_rank} needs GPU {local_rank}; {visible} are "
            "visible",
            "choose a CPU cluster (GPTOSS_CLUSTER=local), or set processes_per_node to the number of GPUs",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
