"""The run of one rank: restore, step, validate, save, stop when asked; every rank takes each decision alike."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch

from gptoss.core import paths
from gptoss.core.errors import DataError, Preempted
from gptoss.core.signals import StopRequest
from gptoss.launch.watchdog import Watchdog
from gptoss.models.decoder import hugging_face_config, parameter_count
from gptoss.train.checkpoint import Checkpoints, published
from gptoss.train.export import export
from gptoss.train.metrics_log import RowWriter, Seconds
from gptoss.train.parallel_context import PATIENCE, ParallelContext
from gptoss.train.run_config import RunConfig
from gptoss.train.step import RankFlags, StepResult, Trainer
from gptoss.train.throughput import flops_a_token, peak_flops

EXPORTED_A_SECOND = 20e6
"""Bytes of weights that even a slow file system reads and writes in a second."""


class Run:
    """A training run from its newest checkpoint on."""

    def __init__(self, plan: RunConfig, ranks: ParallelContext, restart: dict[str, Any]) -> None:
        """`restart` says how often, and because of what, launcher or scheduler have started the ranks again."""
        self.plan, self.ranks = plan, ranks
        self.last = plan.settings.pretrain.steps
        self.trainer = Trainer(plan, ranks)
        self.checkpoints = Checkpoints(plan.state / "checkpoints", plan.cluster.checkpoints, ranks)
        self.watchdog = Watchdog(plan.cluster.watchdog_seconds, plan.state, ranks.rank)
        manifest = self.checkpoints.restore(self.trainer.tensors())
        self.done = self.trainer.restore(manifest) if manifest else 0
        """Steps that are done."""
        speed = {"flops_a_token": flops_a_token(plan), "peak_flops": peak_flops(plan, ranks), "devices": ranks.size}
        splits = self.trainer.train_split, self.trainer.validation
        self.rows = RowWriter(plan, self.done, *splits, restart | speed) if ranks.rank == 0 else None

    def train(self, stop: StopRequest) -> None:
        """Take the steps that are left. Raises `Preempted` on request."""
        while self.done < self.last:
            step = self.done + 1
            began = time.monotonic()
            measured = self.trainer.step(step, lambda: self.told(stop))
            self.done = step
            seconds = Seconds(time.monotonic() - began, self.trainer.data_seconds, self.checkpoints.seconds_spent())
            if measured.written:
                self.publish(written=True)
            earlier = self.restore_earlier() if measured.spike else None
            if measured.spike and earlier is None:
                measured = replace(measured, skipped=measured.skipped + 1)
            if self.rows:
                self.rows.training(step, measured, self.trainer.source_tokens(step), seconds)
            self.stop_when_stuck()
            if measured.spike:
                self.treat(measured, earlier)
            if earlier:
                continue
            self.validate_and_save(measured)
            if measured.stop and self.done < self.last:
                self.finish()
                raise Preempted(f"stopped on request after step {self.done}", "the same command continues")
            self.watchdog.beat()
        self.finish()

    def finish(self) -> None:
        """After the last step, or before stopping: what was saved is on the disk of every rank, and from now on ranks
        may wait for rank 0 as long as it takes."""
        self.publish()
        self.watchdog.stop()

    def told(self, stop: StopRequest) -> RankFlags:
        """What this rank tells the others now."""
        return RankFlags(written=self.checkpoints.written, stop=stop.requested, save=self.checkpoints.overdue)

    def validate_and_save(self, measured: StepResult) -> None:
        """After the steps at which that is due, and after the last one."""
        step, last = self.done, self.done == self.last
        if last or step % self.plan.settings.pretrain.validate_every == 0:
            loss = self.trainer.validate()
            if self.rows:
                self.rows.validation(step, loss, measured.rollbacks)
            self.watchdog.beat()
        if last or measured.stop or measured.save or step % self.plan.cluster.checkpoints.every_steps == 0:
            self.publish()
            config = hugging_face_config(self.plan.settings.model, self.plan.vocab_size)
            self.checkpoints.save(step, self.trainer.tensors(), self.trainer.numbers(step) | {"config": config})

    def publish(self, *, written: bool = False) -> None:
        """Publish the checkpoint under way; the rows up to it reach the disk first."""
        if self.rows and self.checkpoints.unpublished:
            self.rows.sync()
        self.checkpoints.publish(written=written)

    def restore_earlier(self) -> dict[str, Any] | None:
        """After a spike, load the tensors of a checkpoint far enough back, where the policy says so and there is one;
        returns its manifest."""
        spikes = self.plan.settings.pretrain.spikes
        if spikes.policy != "rollback":
            return None
        self.publish()
        return self.checkpoints.restore(self.trainer.tensors(), newest=self.done - spikes.rollback_steps)

    def treat(self, measured: StepResult, earlier: dict[str, Any] | None) -> None:
        """Record a spike: the run goes on from the `earlier` checkpoint whose tensors are loaded, or, without one,
        leaves it at the update that was not made."""
        if earlier is None:
            event = self.trainer.spikes.skip(self.done, measured.loss)
        else:
            event = self.trainer.roll_back(self.done, measured.loss, earlier)
            self.done = event["step"]
            self.checkpoints.forget_after(self.done, self.trainer.numbers(self.done))
        if self.rows:
            self.rows.event(event, self.trainer.spikes.rollbacks)
        self.watchdog.beat()

    def stop_when_stuck(self) -> None:
        """Raise `DataError` after too many skipped steps in a row. Every rank does so at the same step."""
        limit, scaler = self.plan.settings.pretrain.loss_scale.max_consecutive_skips, self.trainer.scaler
        if scaler.skipped_in_a_row >= limit:
            raise DataError(
                f"step {self.done}: the gradients of {limit} steps in a row were not finite "
                f"(loss scale now {scaler.scale:g}, {scaler.skipped} steps skipped in all)",
                "lower pretrain.learning_rate or pretrain.gradient_clip, lengthen pretrain.warmup_steps, "
                "or set pretrain.precision to float32 to see whether the model itself diverges",
            )


def train(plan: RunConfig, ranks: ParallelContext, stop: StopRequest, restart: dict[str, Any]) -> None:
    """Train to the last step, then export the weights. Raises `Preempted` on request."""
    run = Run(plan, ranks, restart)
    try:
        run.train(stop)
    except Preempted:
        run.checkpoints.close()
        raise
    run.checkpoints.close()
    run.trainer.batches.close()
    if ranks.rank == 0:
        export(published(run.checkpoints.folder)[-1], paths.PRETRAINED, torch.float32)
    ranks.barrier(export_patience(plan))


def export_patience(plan: RunConfig) -> timedelta:
    """How long the others wait for rank 0, which alone reads and writes all weights."""
    written = torch.float32.itemsize * parameter_count(plan.settings.model, plan.vocab_size)
    return PATIENCE + timedelta(seconds=written / EXPORTED_A_SECOND)
