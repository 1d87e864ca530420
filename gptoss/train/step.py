"""The training step of one rank: every rank takes it, and all of them decide alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gptoss.core import paths
from gptoss.tables.token_files import TokenSplit
from gptoss.train import batches
from gptoss.train.checkpoint import State
from gptoss.train.learning_rate import learning_rate
from gptoss.train.loss_scaling import MeshGradScaler
from gptoss.train.loss_spikes import Event, Spikes
from gptoss.train.mixture import SampleOrder
from gptoss.train.optimizer import Optimizer, squared_norm
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.pipeline_parallel import Pipeline
from gptoss.train.run_config import RunConfig
from gptoss.train.sharding import local, named_parameters, sharded_parts
from gptoss.train.throughput import Activations, memory_bytes


@dataclass(frozen=True)
class RankFlags:
    """What a rank tells the others with its sums of a step."""

    written: bool = False
    """Its part of the checkpoint under way is on the disk."""
    stop: bool = False
    """It was asked to stop."""
    save: bool = False
    """By its clock a checkpoint is due."""


@dataclass(frozen=True)
class StepResult:
    """What one step measured, the same on every rank."""

    loss: float
    """Nats a token, mean over the global batch, before the step."""
    gradient_norm: float
    """Global, of the unscaled gradients, before clipping; not finite when the step was skipped."""
    loss_scale: float
    """The scale this step used."""
    rate: float
    written: bool
    """The checkpoint under way is on the disk of every rank."""
    stop: bool
    """Some rank was asked to stop."""
    save: bool
    """Some rank finds a checkpoint due."""
    skipped: int = 0
    """Steps without an update so far: their gradients were not finite, or their loss was a spike."""
    spike: bool = False
    """The loss was a spike, so there was no update."""
    rollbacks: int = 0
    """How often the run has gone back."""
    wide: MeshStats | None = None
    """What is measured every `log_every_steps` steps only."""


@dataclass(frozen=True)
class MeshStats:
    """Maxima over the whole mesh."""

    memory_bytes: float
    """Of the rank that uses most."""
    activation_maxima: list[float] | None
    """Largest magnitude that each layer put out; None where that is not measured."""


class Trainer:
    """Model, optimizer, loss scale and data of one rank."""

    def __init__(self, plan: RunConfig, ranks: ParallelContext) -> None:
        settings = plan.settings
        self.plan, self.ranks, self.pretrain = plan, ranks, settings.pretrain
        self.parts = sharded_parts(plan, ranks)
        self.parameters = list(named_parameters(self.parts))
        self.pipeline = Pipeline(self.parts, plan, ranks)
        self.optimizer = Optimizer(self.parameters, settings.pretrain)
        scale = settings.pretrain.loss_scale
        self.scaler = MeshGradScaler(scale.initial if plan.precision == "float16" else None, scale.growth_interval)
        self.spikes = Spikes(settings)
        self.activations = Activations(self.parts, plan, ranks.device)
        self.data_seconds = 0.0
        """How long this rank waited for the batch of the last step."""
        self.open_data()

    def open_data(self) -> None:
        """Open both splits of the shards; the ranks share the work of verifying them."""
        settings, ranks = self.plan.settings, self.ranks
        self.train_split, self.validation = (TokenSplit.open(paths.SHARDS, split) for split in ("train", "validation"))
        for split in (self.train_split, self.validation):
            split.verify(ranks.rank, ranks.size)
        order = SampleOrder(self.train_split, settings)
        self.batches = batches.TrainingBatches(self.train_split, order, self.plan, ranks.dp_rank, ranks.device)
        self.held_out = batches.validation_windows(
            self.validation, settings.model.context, settings.pretrain.validation_tokens
        )

    def step(self, step: int, tell: Callable[[], RankFlags] = RankFlags) -> StepResult:
        """Step 1, 2, …: forward, backward, one verdict over the mesh, then step or skip everywhere alike. `tell` is
        asked when the gradients are there, so that what happened during the step is told in it."""
        rate = learning_rate(step, self.pretrain)
        scale, tokens = self.scaler.scale, self.pretrain.batch_tokens
        wide = step % self.plan.cluster.log_every_steps == 0
        with self.activations.watched(wide):
            loss = self.backward(step, scale / tokens)
        grads = [parameter.grad for _, parameter in self.parameters]
        squares = squared_norm(grads)
        self.ranks.finish()
        told = tell()
        summed_loss, summed_squares, written, stop, save = self.ranks.sum(
            [loss, squares, float(told.written), float(told.stop), float(told.save)]
        )
        norm = math.sqrt(summed_squares) / scale if math.isfinite(summed_squares) else math.nan
        finite = self.scaler.update(norm)
        spike = finite and self.spikes.found(summed_loss / scale)
        if finite and not spike:
            clip = min(1.0, self.pretrain.gradient_clip / (norm + 1e-6))
            torch._foreach_mul_([local(grad) for grad in grads], clip / scale)
            self.optimizer.step(rate)
        self.optimizer.clear()
        return StepResult(
            summed_loss / scale, norm, scale, rate, written == self.ranks.size, stop > 0, save > 0,
            self.scaler.skipped + self.spikes.skipped, spike, self.spikes.rollbacks, self.measure() if wide else None,
        )  # fmt: skip

    def measure(self) -> MeshStats:
        """Memory and activations over the mesh. Collective."""
        memory = torch.tensor([memory_bytes(self.ranks.device)], dtype=torch.float64, device=self.ranks.device)
        most, *maxima = self.ranks.max(torch.cat([memory, self.activations.maxima]))
        return MeshStats(most, maxima if self.activations.layers else None)

    def backward(self, step: int, factor: float) -> torch.Tensor:
        """Leave the gradients of `factor` * summed loss on the parameters; returns this rank's part of that loss."""
        began = time.monotonic()
        inputs, targets = self.batch(self.spikes.batch(step))
        self.data_seconds = time.monotonic() - began
        return self.pipeline.train(inputs, targets, factor)

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of this rank's part of global batch 1, 2, …: `(sequences_per_rank, context)` int64."""
        return self.batches.take(number)

    def source_tokens(self, step: int) -> dict[str, int]:
        """Tokens of each source up to and with the batch of this step, batches left out after a spike included."""
        return self.batches.source_tokens(self.spikes.batch(step))

    def validate(self) -> float:
        """Nats a token over the held-out windows."""
        layout, context = self.plan.layout, self.plan.settings.model.context
        total = 0.0
        for start in range(0, len(self.held_out), layout.sequences):
            mine = start + self.ranks.dp_rank * layout.sequences_per_rank
            starts = self.held_out[mine : min(mine + layout.sequences_per_rank, start + layout.sequences)]
            windows = batches.read_windows(self.validation, starts, context)
            inputs, targets = (
                torch.from_numpy(part).to(self.ranks.device) for part in batches.pad(windows, layout.sequences_per_rank)
            )
            (summed,) = self.ranks.sum([self.pipeline.evaluate(inputs, targets)])
            total += summed
        return total / (len(self.held_out) * context)

    def tensors(self) -> State:
        """The tensors of a checkpoint under their global names."""
        weights = {f"model.{name}": parameter.detach() for name, parameter in self.parameters}
        return weights | dict(self.optimizer.moments())

    def numbers(self, step: int) -> dict[str, Any]:
        """The rest of a checkpoint, for its manifest. The tokens read so far are told, not needed: they follow from
        the step, as the order of the samples does."""
        spikes = self.spikes.state()
        return {"loss_scale": self.scaler.state(), "spikes": spikes, "source_tokens": self.source_tokens(step)}

    def restore(self, manifest: dict[str, Any]) -> int:
        """Take over the numbers of a checkpoint whose tensors are loaded; returns its step."""
        self.scaler.restore(manifest["loss_scale"])
        self.spikes.restore(manifest["spikes"])
        self.optimizer.set_steps_taken(manifest["step"] - self.scaler.skipped - self.spikes.skipped)
        return int(manifest["step"])

    def roll_back(self, step: int, loss: float, manifest: dict[str, Any]) -> Event:
        """Take over an earlier checkpoint whose tensors are loaded, and leave out what led to the spike at `step`."""
        event = self.spikes.roll_back(step, loss, manifest["step"], manifest["spikes"])
        self.restore(manifest | {"spikes": self.spikes.state()})
        return event
