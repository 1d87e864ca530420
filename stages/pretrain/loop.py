"""The run of one rank: restore, step, validate, save, stop when asked; every rank takes each decision alike."""

from __future__ import annotations

import time
from typing import Any

import torch

from stages import paths
from stages.errors import DataError, Preempted
from stages.pretrain.checkpoint import Checkpoints, published
from stages.pretrain.export import export
from stages.pretrain.mesh import Ranks
from stages.pretrain.model import hugging_face_config
from stages.pretrain.plan import Plan
from stages.pretrain.rows import RowWriter, Seconds
from stages.pretrain.stop import StopRequest
from stages.pretrain.telemetry import flops_a_token, peak_flops
from stages.pretrain.train import Measured, Told, Trainer
from stages.pretrain.watchdog import Watchdog


class Run:
    """A training run from its newest checkpoint on."""

    def __init__(self, plan: Plan, ranks: Ranks, restart: dict[str, Any]) -> None:
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
            if self.rows:
                seconds = Seconds(time.monotonic() - began, self.trainer.data_seconds, self.checkpoints.seconds_spent())
                self.rows.training(step, measured, self.trainer.source_tokens(step), seconds)
            self.stop_when_stuck()
            if measured.written:
                self.publish(written=True)
            if measured.spike and self.went_back(measured):
                continue
            self.validate_and_save(measured)
            if measured.stop and self.done < self.last:
                self.publish()
                raise Preempted(f"stopped on request after step {self.done}", "the same command continues")
            self.watchdog.beat()
        self.publish()

    def told(self, stop: StopRequest) -> Told:
        """What this rank tells the others now."""
        return Told(written=self.checkpoints.written, stop=stop.requested, save=self.checkpoints.overdue)

    def validate_and_save(self, measured: Measured) -> None:
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

    def went_back(self, measured: Measured) -> bool:
        """Treat a spike: go back to a checkpoint, or, by policy or with none far enough back, leave it at the update
        that was not made. Whether the run went back."""
        step, spikes = self.done, self.plan.settings.pretrain.spikes
        manifest = None
        if spikes.policy == "rollback":
            self.publish()
            manifest = self.checkpoints.restore(self.trainer.tensors(), newest=step - spikes.rollback_steps)
        if manifest is None:
            event = self.trainer.spikes.skip(step, measured.loss)
        else:
            event = self.trainer.roll_back(step, measured.loss, manifest)
            self.done = event["step"]
            self.checkpoints.forget_after(self.done, self.trainer.numbers(self.done))
        if self.rows:
            self.rows.event(event, self.trainer.spikes.rollbacks)
        self.watchdog.beat()
        return manifest is not None

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


def train(plan: Plan, ranks: Ranks, stop: StopRequest, restart: dict[str, Any]) -> None:
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
    ranks.barrier()
