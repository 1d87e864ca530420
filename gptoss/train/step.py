"""One training step: forward and backward, one verdict over the mesh, then an update on all ranks or on none.

Reading order: `Trainer.step`, then `pipeline_parallel.py` (forward and backward), `loss_scaling.py` (the verdict) and
`optimizer.py` (the update).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gptoss.core import paths
from gptoss.tables.token_files import TokenSplit
from gptoss.train.batches import TrainingBatches, pad_batch, read_windows, validation_windows
from gptoss.train.checkpoint import StateDict
from gptoss.train.learning_rate import learning_rate
from gptoss.train.loss_scaling import MeshGradScaler, clip_and_unscale
from gptoss.train.loss_spikes import Event, SpikeDetector
from gptoss.train.mixture import SampleOrder
from gptoss.train.optimizer import Optimizer, local_squared_norm
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.pipeline_parallel import Pipeline
from gptoss.train.run_config import RunConfig
from gptoss.train.sharding import build_model_parts, named_parameters
from gptoss.train.throughput import ActivationMonitor, memory_bytes


@dataclass(frozen=True)
class RankFlags:
    """Flags of one rank; they are summed over the mesh together with loss and gradient norm, at no extra collective."""

    checkpoint_written: bool = False
    """Its files of the pending checkpoint are on disk."""
    stop: bool = False
    """It received a stop request."""
    save_due: bool = False
    """A checkpoint is due by its clock."""


@dataclass(frozen=True)
class StepResult:
    """Measurements of one step, equal on every rank."""

    loss: float
    """Nats per token, mean over the global batch, before the update."""
    gradient_norm: float
    """Norm of the unscaled gradients over the whole model, before clipping; NaN when the step was skipped for it."""
    loss_scale: float
    """The scale that this step used."""
    learning_rate: float
    checkpoint_written: bool
    """The pending checkpoint is on disk on every rank."""
    stop: bool
    """Some rank received a stop request."""
    save_due: bool
    """A checkpoint is due by the clock of some rank."""
    skipped: int = 0
    """Steps without an update so far, for gradients that were not finite or for a loss spike."""
    spike: bool = False
    """The loss was a spike, so this step made no update."""
    rollbacks: int = 0
    """Rollbacks of the run so far."""
    mesh_stats: MeshStats | None = None
    """Every `log_every_steps` steps, otherwise None."""


@dataclass(frozen=True)
class MeshStats:
    """Maxima over the whole mesh."""

    memory_bytes: float
    """Peak memory of the rank that uses most."""
    activation_maxima: list[float] | None
    """Largest magnitude in the output of each layer; None where that is not measured."""


class Trainer:
    """Model, optimizer, loss scale and data of one rank."""

    def __init__(self, run_config: RunConfig, parallel: ParallelContext) -> None:
        settings = run_config.settings
        self.run_config, self.parallel, self.config = run_config, parallel, settings.pretrain
        self.model_parts = build_model_parts(run_config, parallel)
        # Collected after sharding: FSDP and tensor parallelism replace the parameters.
        self.parameters = list(named_parameters(self.model_parts))
        self.pipeline = Pipeline(self.model_parts, run_config, parallel)
        self.optimizer = Optimizer(self.parameters, self.config)
        scale = self.config.loss_scale
        # bfloat16 has float32's exponent range and float32 needs no scale: both only skip non-finite steps.
        initial = scale.initial if run_config.precision == "float16" else None
        self.scaler = MeshGradScaler(initial, scale.growth_interval)
        self.spikes = SpikeDetector(settings)
        self.activations = ActivationMonitor(self.model_parts, run_config, parallel.device)
        self.data_seconds = 0.0
        """How long this rank waited for the batch of the last step."""
        self.open_data()

    def open_data(self) -> None:
        """Open and verify both splits of the shards; the ranks divide the hashing."""
        settings, parallel = self.run_config.settings, self.parallel
        self.train_split, self.validation_split = (
            TokenSplit.open(paths.SHARDS, split) for split in ("train", "validation")
        )
        for split in (self.train_split, self.validation_split):
            split.verify(parallel.rank, parallel.world_size)
        order = SampleOrder(self.train_split, settings)
        self.batches = TrainingBatches(self.train_split, order, self.run_config, parallel.dp_rank, parallel.device)
        self.validation_starts = validation_windows(
            self.validation_split, settings.model.context, self.config.validation_tokens
        )

    def step(self, step: int, local_flags: Callable[[], RankFlags] = RankFlags) -> StepResult:
        """Run step 1, 2, …. `local_flags` is called after the backward pass, so that a stop request or a finished
        checkpoint write that happens during the step takes effect in it."""
        rate = learning_rate(step, self.config)
        scale = self.scaler.scale
        log_step = step % self.run_config.cluster.log_every_steps == 0
        with self.activations.recording(log_step):
            loss = self.forward_backward(step, self.scaler.loss_factor(self.config.batch_tokens))
        gradients = [parameter.grad for _, parameter in self.parameters]
        squares = local_squared_norm(gradients)
        # Flags are read as late as possible: when the GPU has finished, not when the host has queued its kernels.
        self.parallel.synchronize()
        flags = local_flags()
        # One collective per step outside of the model, and one point at which the host waits for the device.
        scaled_loss, squares, written, stop, save_due = self.parallel.all_reduce_sum(
            [loss, squares, float(flags.checkpoint_written), float(flags.stop), float(flags.save_due)]
        )
        norm = self.scaler.unscaled_norm(squares)
        finite = self.scaler.update(norm)  # from here on `self.scaler.scale` is that of the next step
        spike = finite and self.spikes.is_spike(scaled_loss / scale)
        if finite and not spike:
            clip_and_unscale(gradients, norm, self.config.gradient_clip, scale)
            self.optimizer.step(rate)
        # Freed rather than zeroed, so that they take no memory during the next forward pass.
        self.optimizer.zero_grad()
        return StepResult(
            loss=scaled_loss / scale, gradient_norm=norm, loss_scale=scale, learning_rate=rate,
            checkpoint_written=written == self.parallel.world_size, stop=stop > 0, save_due=save_due > 0,
            skipped=self.scaler.skipped + self.spikes.skipped, spike=spike, rollbacks=self.spikes.rollbacks,
            mesh_stats=self.mesh_stats() if log_step else None,
        )  # fmt: skip

    def mesh_stats(self) -> MeshStats:
        """Maxima of memory and activations over the mesh. Collective."""
        memory = torch.tensor([memory_bytes(self.parallel.device)], dtype=torch.float64, device=self.parallel.device)
        most, *maxima = self.parallel.all_reduce_max(torch.cat([memory, self.activations.maxima]))
        return MeshStats(most, maxima if self.activations.layers else None)

    def forward_backward(self, step: int, factor: float) -> Tensor:
        """Accumulate the gradients of `factor` * summed cross-entropy; returns this rank's share of that loss, a
        float64 scalar on the device."""
        started = time.monotonic()
        inputs_BT, targets_BT = self.batch(self.spikes.batch_number(step))
        self.data_seconds = time.monotonic() - started
        return self.pipeline.forward_backward(inputs_BT, targets_BT, factor)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """This rank's slice of global batch 1, 2, …: inputs and targets `(sequences_per_rank, context)`, int64."""
        return self.batches.take(number)

    def source_tokens(self, step: int) -> dict[str, int]:
        """Tokens per source in the batches up to that of `step`, including batches skipped after a spike."""
        return self.batches.source_tokens(self.spikes.batch_number(step))

    def validate(self) -> float:
        """Mean cross-entropy over the validation windows, in nats per token. Collective."""
        layout, context = self.run_config.layout, self.run_config.settings.model.context
        per_rank, total = layout.sequences_per_rank, 0.0
        for start in range(0, len(self.validation_starts), layout.sequences):
            first = start + self.parallel.dp_rank * per_rank
            # The last batch may be short, and some ranks have none of it: their windows are all padding.
            starts = self.validation_starts[first : min(first + per_rank, start + layout.sequences)]
            # Padded, because the pipeline schedule accepts only the batch shape it was built for.
            padded = pad_batch(read_windows(self.validation_split, starts, context), per_rank)
            inputs_BT, targets_BT = (torch.from_numpy(array).to(self.parallel.device) for array in padded)
            (loss,) = self.parallel.all_reduce_sum([self.pipeline.evaluate(inputs_BT, targets_BT)])
            total += loss
        return total / (len(self.validation_starts) * context)

    def state_dict(self) -> StateDict:
        """Weights and optimizer state under global names, for a checkpoint's tensors."""
        # The prefix distinguishes weights from `exp_avg.NAME` and so on; `export.py` strips it.
        weights = {f"model.{name}": parameter.detach() for name, parameter in self.parameters}
        return weights | dict(self.optimizer.named_state())

    def manifest_entries(self, step: int) -> dict[str, Any]:
        """The numbers of a checkpoint, for its manifest. `source_tokens` is information only: it follows from the step,
        as the order of the samples does."""
        return {
            "loss_scale": self.scaler.state_dict(),
            "spikes": self.spikes.state_dict(),
            "source_tokens": self.source_tokens(step),
        }

    def load_manifest(self, manifest: dict[str, Any]) -> int:
        """Continue from a checkpoint whose tensors are loaded already; returns its step."""
        self.scaler.load_state_dict(manifest["loss_scale"])
        self.spikes.load_state_dict(manifest["spikes"])
        # AdamW's bias correction counts updates, and skipped steps made none. The count is not stored per parameter,
        # because it follows from these numbers.
        self.optimizer.set_step_count(manifest["step"] - self.scaler.skipped - self.spikes.skipped)
        return int(manifest["step"])

    def roll_back(self, step: int, loss: float, manifest: dict[str, Any]) -> Event:
        """Continue from an earlier checkpoint whose tensors are loaded, without the batches before the spike at
        `step`."""
        event = self.spikes.record_rollback(step, loss, manifest["step"], manifest["spikes"])
        self.load_manifest(manifest | {"spikes": self.spikes.state_dict()})
        return event
