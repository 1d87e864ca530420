"""The training loop of one rank: restore, step, validate, save, stop on request.

Every decision that ends or branches the loop (stop, save, skip, roll back) follows from numbers that are equal on all
ranks, so no rank ever waits in a collective that another rank does not enter.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import torch

from gptoss.core import paths
from gptoss.core.errors import DataError, Preempted
from gptoss.core.signals import StopRequest
from gptoss.models.decoder import hugging_face_config, parameter_count
from gptoss.train.checkpoint import Checkpoints, committed_checkpoints
from gptoss.train.export import export
from gptoss.train.metrics_log import MetricsWriter, StepTimes
from gptoss.train.parallel_context import COLLECTIVE_TIMEOUT, ParallelContext
from gptoss.train.run_config import RunConfig
from gptoss.train.step import RankFlags, StepResult, Trainer
from gptoss.train.throughput import flops_per_token, peak_flops

# Pessimistic on purpose (an overloaded network file system): it only bounds how long ranks wait for the export.
EXPORT_BYTES_PER_SECOND = 20e6


class Heartbeat(Protocol):
    """Liveness signal of the loop; the launcher passes a watchdog that ends a process which stops beating."""

    def beat(self) -> None: ...
    def stop(self) -> None: ...


class TrainingRun:
    """A run on one rank, continued from its newest intact checkpoint."""

    def __init__(
        self, run_config: RunConfig, parallel: ParallelContext, heartbeat: Heartbeat, restart: dict[str, Any]
    ) -> None:
        """`restart`: how often the launcher or scheduler restarted the ranks, and why; logged with the attempt."""
        self.run_config, self.parallel, self.heartbeat = run_config, parallel, heartbeat
        self.steps = run_config.settings.pretrain.steps
        self.trainer = Trainer(run_config, parallel)
        self.checkpoints = Checkpoints(run_config.state / "checkpoints", run_config.cluster.checkpoints, parallel)
        manifest = self.checkpoints.restore(self.trainer.state_dict())
        self.step = self.trainer.load_manifest(manifest) if manifest else 0
        """The last completed step; 0 before the first."""
        facts = {
            "flops_per_token": flops_per_token(run_config),
            "peak_flops": peak_flops(run_config, parallel),  # collective: every rank measures, rank 0 logs the sum
            "devices": parallel.world_size,
        }
        splits = self.trainer.train_split, self.trainer.validation_split
        self.metrics = MetricsWriter(run_config, self.step, *splits, restart | facts) if parallel.rank == 0 else None

    def train(self, stop: StopRequest) -> None:
        """Run the remaining steps. Raises `Preempted` after a stop request, with the state saved."""
        while self.step < self.steps:
            started = time.monotonic()
            result = self.trainer.step(self.step + 1, lambda: self.local_flags(stop))
            self.step += 1
            times = StepTimes(time.monotonic() - started, self.trainer.data_seconds, self.checkpoints.take_seconds())
            # Every rank learns this from the same sum, so the commit needs no barrier.
            if result.checkpoint_written:
                self.commit(written=True)
            # Before the row is logged: without a checkpoint to restore, the step counts as skipped.
            manifest = self.restore_earlier() if result.spike else None
            if result.spike and manifest is None:
                result = replace(result, skipped=result.skipped + 1)
            if self.metrics:
                self.metrics.training(self.step, result, self.trainer.source_tokens(self.step), times)
            # After logging, so that the curves show the steps that led to the error.
            self.check_consecutive_skips()
            if result.spike:
                self.record_spike(result, manifest)
            if manifest:  # the restored step is already validated and saved
                continue
            self.validate_and_save(result)
            # `validate_and_save` has saved this step because of `result.stop`.
            if result.stop and self.step < self.steps:
                self.finish()
                raise Preempted(f"stopped on request after step {self.step}", "the same command continues")
            self.heartbeat.beat()
        self.finish()

    def finish(self) -> None:
        """Commit the last save, then stop the heartbeat: from here on ranks may wait for rank 0's export, which takes
        longer than a step."""
        self.commit()
        self.heartbeat.stop()

    def local_flags(self, stop: StopRequest) -> RankFlags:
        """What this rank contributes to the joint decision of a step."""
        return RankFlags(self.checkpoints.written, stop.requested, self.checkpoints.overdue)

    def validate_and_save(self, result: StepResult) -> None:
        """Validate and save where the step, a stop request or the clock asks for it."""
        last = self.step == self.steps
        if last or self.step % self.run_config.settings.pretrain.validate_every == 0:
            loss = self.trainer.validate()
            if self.metrics:
                self.metrics.validation(self.step, loss, result.rollbacks)
            self.heartbeat.beat()
        every_steps = self.run_config.cluster.checkpoints.every_steps
        if last or result.stop or result.save_due or self.step % every_steps == 0:
            self.commit()
            # The configuration makes a checkpoint self-contained for `export`.
            config = hugging_face_config(self.run_config.settings.model, self.run_config.vocab_size)
            manifest = self.trainer.manifest_entries(self.step) | {"config": config}
            self.checkpoints.save(self.step, self.trainer.state_dict(), manifest)

    def commit(self, *, written: bool = False) -> None:
        """Commit the pending save. Metrics are synced first: a checkpoint must never be newer than the log, or a
        resumed run would have a gap in its curves."""
        if self.metrics and self.checkpoints.uncommitted:
            self.metrics.sync()
        self.checkpoints.commit(written=written)

    def restore_earlier(self) -> dict[str, Any] | None:
        """After a spike, load the tensors of a checkpoint at least `rollback_steps` old. Returns its manifest, or None
        when the policy is not `rollback` or no checkpoint is old enough."""
        spikes = self.run_config.settings.pretrain.spikes
        if spikes.policy != "rollback":
            return None
        self.commit()
        return self.checkpoints.restore(self.trainer.state_dict(), newest=self.step - spikes.rollback_steps)

    def record_spike(self, result: StepResult, manifest: dict[str, Any] | None) -> None:
        """Finish the rollback to `manifest`, whose tensors are loaded; without one, record the skipped update."""
        if manifest is None:
            event = self.trainer.spikes.record_skip(self.step, result.loss)
        else:
            event = self.trainer.roll_back(self.step, result.loss, manifest)
            self.step = event["step"]
            self.checkpoints.delete_after(self.step, self.trainer.manifest_entries(self.step))
        if self.metrics:
            self.metrics.event(event, self.trainer.spikes.rollbacks)
        self.heartbeat.beat()

    def check_consecutive_skips(self) -> None:
        """Raise `DataError` after `max_consecutive_skips` steps in a row without finite gradients. The counter is equal
        on all ranks, so all of them raise at the same step."""
        limit = self.run_config.settings.pretrain.loss_scale.max_consecutive_skips
        scaler = self.trainer.scaler
        if scaler.skipped_in_a_row >= limit:
            raise DataError(
                f"step {self.step}: the gradients of {limit} steps in a row were not finite "
                f"(loss scale now {scaler.scale:g}, {scaler.skipped} steps skipped in all)",
                "lower pretrain.learning_rate or pretrain.gradient_clip, lengthen pretrain.warmup_steps, "
                "or set pretrain.precision to float32 to see whether the model itself diverges",
            )


def train(
    run_config: RunConfig, parallel: ParallelContext, stop: StopRequest, heartbeat: Heartbeat, restart: dict[str, Any]
) -> None:
    """Train to the last step, then export float32 weights to `models/base`. Raises `Preempted` on request."""
    run = TrainingRun(run_config, parallel, heartbeat, restart)
    try:
        run.train(stop)
    # Not on other errors: the background thread may be waiting for a rank that died.
    except Preempted:
        run.checkpoints.close()
        raise
    run.checkpoints.close()
    run.trainer.batches.close()
    # From the checkpoint, not from live weights: no gather over the mesh, and what is published was checksummed.
    if parallel.rank == 0:
        export(committed_checkpoints(run.checkpoints.folder)[-1], paths.PRETRAINED, torch.float32)
    parallel.barrier(export_timeout(run_config))


def export_timeout(run_config: RunConfig) -> timedelta:
    """How long the other ranks wait for rank 0, which reads and writes all weights alone."""
    size = torch.float32.itemsize * parameter_count(run_config.settings.model, run_config.vocab_size)
    return COLLECTIVE_TIMEOUT + timedelta(seconds=size / EXPORT_BYTES_PER_SECOND)
