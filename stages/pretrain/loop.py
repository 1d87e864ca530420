"""The run of one rank: restore, step, validate, save, stop when asked; every rank takes each decision alike."""

from __future__ import annotations

import time

import torch

from stages import paths
from stages.errors import DataError, Preempted
from stages.pretrain.checkpoint import Checkpoints, published
from stages.pretrain.export import export
from stages.pretrain.mesh import Ranks
from stages.pretrain.model import hugging_face_config
from stages.pretrain.plan import Plan
from stages.pretrain.precision import MeshGradScaler
from stages.pretrain.rows import RowWriter, Seconds
from stages.pretrain.stop import StopRequest
from stages.pretrain.train import Told, Trainer


def train(plan: Plan, ranks: Ranks, stop: StopRequest) -> None:
    """Train from the newest checkpoint to the last step, then export the weights. Raises `Preempted` on request."""
    trainer = Trainer(plan, ranks)
    checkpoints = Checkpoints(plan.state / "checkpoints", plan.cluster.checkpoints, ranks)
    manifest = checkpoints.restore(trainer.tensors())
    done = trainer.restore(manifest) if manifest else 0
    config = hugging_face_config(plan.settings.model, plan.vocab_size)
    rows = RowWriter(plan, done) if ranks.rank == 0 else None
    for step in range(done + 1, plan.settings.pretrain.steps + 1):
        began = time.monotonic()
        told = Told(written=checkpoints.written, stop=stop.requested, save=checkpoints.overdue)
        measured = trainer.step(step, told)
        if rows:
            seconds = Seconds(time.monotonic() - began, trainer.data_seconds)
            rows.training(step, measured, trainer.scaler.skipped, trainer.batches.source_tokens(step), seconds)
        stop_when_stuck(trainer.scaler, plan, step)
        if measured.written:
            publish(checkpoints, rows)
        last = step == plan.settings.pretrain.steps
        if last or step % plan.settings.pretrain.validate_every == 0:
            loss = trainer.validate()
            if rows:
                rows.validation(step, loss, trainer.validation)
        if last or measured.stop or measured.save or step % plan.cluster.checkpoints.every_steps == 0:
            publish(checkpoints, rows)
            checkpoints.save(step, trainer.tensors(), trainer.numbers(step) | {"config": config})
        if measured.stop and not last:
            publish(checkpoints, rows)
            checkpoints.close()
            raise Preempted(f"stopped on request after step {step}", "the same command continues")
    publish(checkpoints, rows)
    checkpoints.close()
    trainer.batches.close()
    if ranks.rank == 0:
        export(published(checkpoints.folder)[-1], paths.PRETRAINED, torch.float32)
    ranks.barrier()


def publish(checkpoints: Checkpoints, rows: RowWriter | None) -> None:
    """Publish the checkpoint under way; the rows up to it reach the disk first."""
    if rows and checkpoints.unpublished:
        rows.sync()
    checkpoints.publish()


def stop_when_stuck(scaler: MeshGradScaler, plan: Plan, step: int) -> None:
    """Raise `DataError` after too many skipped steps in a row. Every rank does so at the same step."""
    limit = plan.settings.pretrain.loss_scale.max_consecutive_skips
    if scaler.skipped_in_a_row >= limit:
        raise DataError(
            f"step {step}: the gradients of {limit} steps in a row were not finite "
            f"(loss scale now {scaler.scale:g}, {scaler.skipped} steps skipped in all)",
            "lower pretrain.learning_rate or pretrain.gradient_clip, lengthen pretrain.warmup_steps, "
            "or set pretrain.precision to float32 to see whether the model itself diverges",
        )
