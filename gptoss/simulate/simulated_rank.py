"""One rank of a large mesh on one machine: the real training step with fake tensors in a fake world.

The step is that of `gptoss.train.step`, with the same parts, sharding, schedule, loss and optimizer. Operations
run on `FakeTensor`s, which have shapes and storages but no numbers; collectives return at once (torch's `fake`
process group). Three things are replaced, each because it needs numbers: reading of samples, the sums that
all ranks exchange, and the vote by which pipeline stages agree that shapes are known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from gptoss.models.precision import DTYPES, as_if_on
from gptoss.models.rotary import rotary_table
from gptoss.simulate.live_storage import LiveStorage
from gptoss.train.parallel_context import ParallelContext, device_mesh
from gptoss.train.run_config import RunConfig
from gptoss.train.step import Trainer


@dataclass(frozen=True)
class Peak:
    """Bytes alive on one rank at the moment of its step at which most are."""

    pp_rank: int
    total: int = 0
    parameters: int = 0
    """Shards of master weights, and gathered weights in compute precision."""
    gradients: int = 0
    """Sums over micro-batches of whole gradients, and shards of reduced ones."""
    optimizer: int = 0

    @property
    def activations(self) -> int:
        """All else: activations kept for backward, buffers of the pipeline, what operations need while they run."""
        return self.total - self.parameters - self.gradients - self.optimizer


def simulated_peak(plan: RunConfig, pp_rank: int) -> Peak:
    """Peak of the first rank at a place in the pipeline."""
    rotary_table.cache_clear()  # tensors of one fake mode do not mix with another's
    shorter, left_out = shortened(plan)
    with fake_world(plan.cluster, pp_rank) as ranks, as_if_on(plan.cluster.device), FakeTensorMode():
        trainer = FakeTrainer(shorter, ranks)
        peak = measured_peak(trainer, steps=1)
    rotary_table.cache_clear()
    return replace(peak, total=peak.total + left_out * received_bytes(plan, trainer))


def shortened(plan: RunConfig) -> tuple[RunConfig, int]:
    """The plan with as many micro-batches as it takes until another one changes nothing but the number of receive
    buffers, and how many were left out. A stage of 1F1B holds the activations of at most `pp` of them, one of the
    other schedules those of at most three rounds."""
    settings, layout = plan.settings, plan.layout
    rounds = 2 if plan.cluster.pipeline.schedule == "1f1b" else 3
    kept = min(layout.micro_batches, rounds * plan.cluster.mesh.pp)
    tokens = settings.pretrain.batch_tokens // layout.micro_batches * kept
    pretrain = settings.pretrain.model_copy(update={"batch_tokens": tokens})
    shorter = plan.model_copy(update={"settings": settings.model_copy(update={"pretrain": pretrain})})
    return shorter, layout.micro_batches - kept


def received_bytes(plan: RunConfig, trainer: Trainer) -> int:
    """What a micro-batch leaves until the end of the step: receive buffers for the activations of each part but the
    first and for the gradients of each but the last. Zero bubble leaves a gradient on the former too."""
    shape, element = plan.settings.model, DTYPES[plan.precision].itemsize
    buffer: int = plan.layout.micro_batch * shape.context // plan.cluster.mesh.tp * shape.hidden_size * element
    forward = 2 if plan.cluster.pipeline.schedule == "zero_bubble" else 1
    return buffer * sum(forward * int(not part.first) + int(not part.last) for part in trainer.parts)


def measured_peak(trainer: Trainer, steps: int) -> Peak:
    """Peak of some steps, real or simulated."""
    peak = Peak(trainer.ranks.pp_rank)
    with LiveStorage() as storage:
        storage.include([*sharded_state(trainer)])

        def look() -> None:
            nonlocal peak
            peak = Peak(trainer.ranks.pp_rank, storage.live, *(storage.bytes_of(part) for part in held(trainer)))

        storage.on_peak = look
        for step in range(1, steps + 1):
            trainer.step(step)
        return Peak(peak.pp_rank, storage.peak, peak.parameters, peak.gradients, peak.optimizer)


def sharded_state(trainer: Trainer) -> Iterator[Tensor]:
    """What a rank holds between steps."""
    yield from (parameter for _, parameter in trainer.parameters)
    yield from trainer.optimizer.tensors()


def held(trainer: Trainer) -> tuple[list[Tensor | None], list[Tensor | None], list[Tensor | None]]:
    """Parameters, gradients and optimizer state that exist at this moment, whole or sharded. FSDP keeps whole ones in
    attributes that are not public."""
    parameters: list[Tensor | None] = [parameter for _, parameter in trainer.parameters]
    gradients: list[Tensor | None] = [parameter.grad for _, parameter in trainer.parameters]
    for shard in fsdp_parameters(trainer.parts):
        whole = getattr(shard, "_unsharded_param", None)
        parameters += [whole, *getattr(shard, "all_gather_outputs", ())]
        gradients += [getattr(shard, "unsharded_accumulated_grad", None)]
        gradients += [whole.grad] if whole is not None else []
    return parameters, gradients, [*trainer.optimizer.tensors()]


def fsdp_parameters(parts: Iterable[torch.nn.Module]) -> Iterator[Any]:
    """FSDP's records of the parameters it shards."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, FSDPModule):
                for group in module._get_fsdp_state()._fsdp_param_groups:
                    yield from group.fsdp_params


class FakeTrainer(Trainer):
    """The trainer, without data."""

    def open_data(self) -> None:
        """There are no shards."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Tokens of the right shape."""
        shape = self.plan.layout.sequences_per_rank, self.plan.settings.model.context
        return tuple(torch.zeros(shape, dtype=torch.int64, device=self.ranks.device) for _ in range(2))


class FakeRanks(ParallelContext):
    """Ranks whose sums are always finite."""

    def sum(self, values: Sequence[Any]) -> list[float]:
        """Ones."""
        return [1.0] * len(values)

    def max(self, values: Tensor) -> list[float]:
        """Ones."""
        return [1.0] * len(values)


@contextmanager
def fake_world(cluster: ClusterConfig, pp_rank: int) -> Iterator[ParallelContext]:
    """A process group of the cluster's size in which this process is the first rank of a place in the pipeline."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    size = cluster.mesh.size
    rank = pp_rank * (size // cluster.mesh.pp)
    with ExitStack() as stack:
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
        stack.callback(dist.destroy_process_group)
        stack.enter_context(_agreed_shapes())
        stack.enter_context(_real_meshes())
        cpu = torch.device("cpu")
        yield FakeRanks(rank, size, cpu, device_mesh(cluster, cpu), None)


@contextmanager
def _agreed_shapes() -> Iterator[None]:
    """Pipeline stages take the shapes they were given without a vote."""

    def agree(self: Any, stages: Any, *_: Any) -> None:
        for stage in stages:
            stage._inference_mode = InferenceMode.STATIC

    with mock.patch.object(_PipelineSchedule, "_warmup_p2p", agree):
        yield


@contextmanager
def _real_meshes() -> Iterator[None]:
    """A mesh that FSDP makes of its own mesh and that of tensor parallelism is made of real rank numbers."""
    make = DeviceMesh.__init__

    def real(self: DeviceMesh, *arguments: Any, **options: Any) -> None:
        with unset_fake_temporarily():
            make(self, *arguments, **options)

    with mock.patch.object(DeviceMesh, "__init__", real):
        yield
