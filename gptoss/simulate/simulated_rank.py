"""One rank of a large mesh on one machine: the real training step with fake tensors in a fake process group.

The step is that of `gptoss.train.step`, with the same model parts, sharding, schedule, loss and optimizer. Operations
run on `FakeTensor`s, which have shapes and storages but no values; collectives return at once (torch's `fake` process
group). Three things need values and are replaced: reading of samples, sums over all ranks, and the vote by which
pipeline stages agree that shapes are static.

The device is a CPU that takes the code paths of the cluster's device, because torch without CUDA has no fake `cuda`
("not linked with support for cuda devices"). torch's own `MemTracker` does not support several micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining.schedules import _PipelineSchedule
from torch.distributed.pipelining.stage import InferenceMode

from gptoss.config.cluster import ClusterConfig
from gptoss.models.precision import DTYPES, simulate_device
from gptoss.models.rotary import rotary_table
from gptoss.simulate.live_storage import LiveStorage
from gptoss.train.parallel_context import ParallelContext, device_mesh
from gptoss.train.run_config import RunConfig
from gptoss.train.step import Trainer


@dataclass(frozen=True)
class PeakMemory:
    """Bytes of live tensor storage on one rank at the peak of its step."""

    pp_rank: int
    total: int = 0
    parameters: int = 0
    """Shards of master weights, and gathered weights in compute precision."""
    gradients: int = 0
    """Unsharded sums over micro-batches, and reduced shards."""
    optimizer: int = 0

    @property
    def activations(self) -> int:
        """The rest: activations kept for backward, pipeline buffers, temporaries of running operations."""
        return self.total - self.parameters - self.gradients - self.optimizer


def simulate_peak_memory(run_config: RunConfig, pp_rank: int) -> PeakMemory:
    """Simulate the first rank at a pipeline position."""
    rotary_table.cache_clear()  # tensors of one fake mode do not mix with those of another
    # Dispatching is as slow for fake tensors as for real ones, and the step of 20b has 32 micro-batches.
    shorter, omitted = with_fewer_micro_batches(run_config)
    device = run_config.cluster.device
    with fake_process_group(run_config.cluster, pp_rank) as parallel, simulate_device(device), FakeTensorMode():
        trainer = FakeTrainer(shorter, parallel)
        peak = measure_peak_memory(trainer, steps=1)
    rotary_table.cache_clear()
    return replace(peak, total=peak.total + omitted * receive_buffer_bytes(run_config, trainer))


def with_fewer_micro_batches(run_config: RunConfig) -> tuple[RunConfig, int]:
    """Shorten the step, to save time: keep as many micro-batches as it takes until another one only adds receive
    buffers. Returns the shorter run and the number of omitted micro-batches."""
    settings, layout = run_config.settings, run_config.layout
    # A stage of 1F1B holds activations of at most pp micro-batches; of the other schedules at most three rounds of pp.
    rounds = 2 if run_config.cluster.pipeline.schedule == "1f1b" else 3
    kept = min(layout.micro_batches, rounds * run_config.cluster.mesh.pp)
    tokens = settings.pretrain.batch_tokens // layout.micro_batches * kept
    pretrain = settings.pretrain.model_copy(update={"batch_tokens": tokens})
    shorter = run_config.model_copy(update={"settings": settings.model_copy(update={"pretrain": pretrain})})
    return shorter, layout.micro_batches - kept


def receive_buffer_bytes(run_config: RunConfig, trainer: Trainer) -> int:
    """Memory per micro-batch that is kept to the end of the step: receive buffers for the activations of each part but
    the first and for the gradients of each but the last."""
    model, cluster = run_config.settings.model, run_config.cluster
    # torch's PipelineStage allocates one buffer per micro-batch and keeps all of them for the whole step.
    values = run_config.layout.micro_batch * model.context // cluster.mesh.tp * model.hidden_size
    forward = 2 if cluster.pipeline.schedule == "zero_bubble" else 1  # which keeps the buffer's gradient too
    buffers = sum(forward * int(not part.is_first) + int(not part.is_last) for part in trainer.model_parts)
    return int(values * DTYPES[run_config.precision].itemsize * buffers)


def measure_peak_memory(trainer: Trainer, steps: int) -> PeakMemory:
    """Peak over some steps, real or simulated."""
    peak = PeakMemory(trainer.parallel.pp_rank)
    with LiveStorage() as storage:
        # They exist before counting starts.
        storage.include(parameter for _, parameter in trainer.parameters)
        storage.include(optimizer_tensors(trainer))

        def break_down() -> None:
            nonlocal peak
            by_kind = (storage.bytes_of(tensors) for tensors in live_tensors(trainer))
            peak = PeakMemory(trainer.parallel.pp_rank, storage.live, *by_kind)

        # Taken at the peak, because kinds peak at different moments: sums of separate maxima would exceed the total.
        storage.on_peak = break_down
        for step in range(1, steps + 1):
            trainer.step(step)
        return replace(peak, total=storage.peak)


def optimizer_tensors(trainer: Trainer) -> list[Tensor]:
    """All optimizer state of a rank."""
    return [value for state in trainer.optimizer.states() for value in state.values()]


def live_tensors(trainer: Trainer) -> tuple[list[Tensor | None], list[Tensor | None], list[Tensor]]:
    """Parameters, gradients and optimizer state that exist at this moment, sharded or unsharded."""
    parameters: list[Tensor | None] = [parameter for _, parameter in trainer.parameters]
    gradients: list[Tensor | None] = [parameter.grad for _, parameter in trainer.parameters]
    # FSDP keeps unsharded tensors in private attributes, which exist only while they are in use.
    for fsdp_parameter in fsdp_parameters(trainer.model_parts):
        unsharded = getattr(fsdp_parameter, "_unsharded_param", None)
        parameters += [unsharded, *getattr(fsdp_parameter, "all_gather_outputs", ())]
        gradients += [getattr(fsdp_parameter, "unsharded_accumulated_grad", None), getattr(unsharded, "grad", None)]
    return parameters, gradients, optimizer_tensors(trainer)


def fsdp_parameters(parts: Iterable[torch.nn.Module]) -> Iterator[Any]:
    """FSDP's records of the parameters it shards."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, FSDPModule):
                for group in module._get_fsdp_state()._fsdp_param_groups:
                    yield from group.fsdp_params


class FakeTrainer(Trainer):
    """A trainer without data."""

    def open_data(self) -> None:
        """There are no shards."""

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Tokens of the right shape."""
        # Zeros, which have the storage of real tokens; the values are never read.
        shape = self.run_config.layout.sequences_per_rank, self.run_config.settings.model.context
        return tuple(torch.zeros(shape, dtype=torch.int64, device=self.parallel.device) for _ in range(2))


class FakeParallelContext(ParallelContext):
    """Reductions return ones, which are finite: the step makes an update."""

    def all_reduce_sum(self, values: Any) -> list[float]:
        """Ones."""
        return [1.0] * len(values)

    all_reduce_max = all_reduce_sum


@contextmanager
def fake_process_group(cluster: ClusterConfig, pp_rank: int) -> Iterator[ParallelContext]:
    """A process group of the cluster's size in which this process is the first rank at a pipeline position."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    world_size = cluster.mesh.size
    # pp is the outermost mesh axis, so positions start at multiples of the ranks per position.
    rank = pp_rank * (world_size // cluster.mesh.pp)
    with ExitStack() as stack:
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
        stack.callback(dist.destroy_process_group)
        stack.enter_context(_static_shapes())
        stack.enter_context(_real_meshes())
        cpu = torch.device("cpu")
        yield FakeParallelContext(rank, world_size, cpu, device_mesh(cluster, cpu), None)


@contextmanager
def _static_shapes() -> Iterator[None]:
    """Replace the vote on static shapes, which reads a value (`DataDependentOutputException` on fake tensors)."""

    # Ours are static: `pipeline_parallel.py` states all shapes.
    def agree(self: Any, stages: Any, *_: Any) -> None:
        for stage in stages:
            stage._inference_mode = InferenceMode.STATIC

    with mock.patch.object(_PipelineSchedule, "_warmup_p2p", agree):
        yield


@contextmanager
def _real_meshes() -> Iterator[None]:
    """Build with real rank numbers the mesh that FSDP combines from its own and the tensor-parallel one."""
    init = DeviceMesh.__init__

    def real_init(self: DeviceMesh, *args: Any, **kwargs: Any) -> None:
        with unset_fake_temporarily():
            init(self, *args, **kwargs)

    with mock.patch.object(DeviceMesh, "__init__", real_init):
        yield
