"""Fine-tune with the Hugging Face Trainer: deterministic, resumable, with loss on the assistant's tokens alone.

One process, one GPU at most, a fixed number of threads: two runs give the same bytes. Trained weights and optimizer are
float32; on a GPU the computation runs in `base_precision`, by autocast. Every `CHECKPOINT_EVERY` steps the Trainer
writes weights, optimizer, schedule and random state to a folder; a run that continues from the newest complete one ends
in the bytes of an uninterrupted run.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from gptoss.config.instruct import InstructConfig
from gptoss.core.errors import DataError
from gptoss.core.progress import progress
from gptoss.finetune.early_stopping import BestWeights
from gptoss.finetune.examples import IGNORED, Example, Examples
from gptoss.finetune.packing import collate_packed, collate_padded, pack

# Fixed, because sums depend on how many threads share them. One, because a second thread saves a small model little
# on an idle machine (24 s instead of 35) and costs much on a busy one, where each waits for the other (210 s instead
# of 35).
THREADS = 1
LOG_EVERY = 10
# Steps.
CHECKPOINT_EVERY = 50
# A short warmup: the base is trained already, only Adam's moments of the adapter have to settle.
WARMUP_FRACTION = 0.05
GRADIENT_CLIP = 1.0
# Marks a checkpoint folder whose every file was written.
COMPLETE = "complete"

LogMetrics = Callable[[dict[str, float], int], None]
"""Takes values and the step."""


@dataclass(frozen=True)
class LossPoint:
    """The losses at one step; `held_out_loss` is measured at the end of an epoch."""

    step: int
    loss: float
    held_out_loss: float | None


def prepare_process() -> None:
    """Fix what all steps in this process share: the number of threads, deterministic matrix products, and no progress
    bars of transformers."""
    torch.set_num_threads(THREADS)
    # Deterministic matrix products on a GPU need it; PyTorch reads it at the first product only.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    disable_progress_bar()


def held_out_loss(model: Any, examples: list[Example], batch_size: int, pad_id: int) -> float:
    """Mean cross-entropy of the assistant's tokens in nats, every token with the same weight."""
    was_training = model.training
    model.eval()  # checkpointing of activations, for one, is active in training mode only
    total, tokens = 0.0, 0
    for start in range(0, len(examples), batch_size):
        padded = collate_padded(examples[start : start + batch_size], pad_id)
        batch = {name: tensor.to(model.device) for name, tensor in padded.items()}
        targets = batch.pop("labels")[:, 1:]
        with torch.no_grad():
            logits_BTV = model(**batch).logits[:, :-1]
        # The sum over all batches, not the mean of their means, which would depend on the batch size.
        total += torch.nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        tokens += int((targets != IGNORED).sum())
    model.train(was_training)
    return total / tokens


def require_finite(loss: float, step: int) -> float:
    """The loss. Raises `DataError` if it is not finite."""
    if not math.isfinite(loss):
        raise DataError(f"training diverged: the loss is {loss} at step {step}", "lower instruct.learning_rate")
    return loss


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Logs the loss, which has to be finite, and marks complete checkpoints."""

    def __init__(self, log: LogMetrics) -> None:
        self.log = log
        self.started = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        # The Trainer does not checkpoint the loss that it has summed since the last log, so every save logs first.
        if control.should_save:
            control.should_log = True
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        # The last log of a run has totals and no loss.
        if logs and "loss" in logs:
            require_finite(logs["loss"], state.global_step)
            rate = {"learning_rate": logs["learning_rate"], "seconds": time.monotonic() - self.started}
            self.log({"loss": logs["loss"], **rate}, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class EpochCallback(CheckpointCallback):
    """Also measures the held-out loss at the end of each epoch, shows progress, and stops early."""

    def __init__(
        self, measure: Callable[[Any], float], log: LogMetrics, steps_per_epoch: int, best: BestWeights | None
    ) -> None:
        super().__init__(log)
        self.measure = measure
        self.steps_per_epoch = steps_per_epoch
        self.best = best
        self.bar: Iterator[int] = iter(())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = progress(range(state.global_step, state.max_steps), "instruct", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        next(self.bar, None)
        if state.global_step % self.steps_per_epoch == 0:
            loss = require_finite(self.measure(model), state.global_step)
            # In the Trainer's log, which its checkpoints hold: a resumed run stops at the same epoch.
            state.log_history.append({"step": state.global_step, "held_out_loss": loss})
            self.log({"held_out_loss": loss}, state.global_step)
            control.should_log = True
            if self.best:
                losses = [entry["held_out_loss"] for entry in state.log_history if "held_out_loss" in entry]
                control.should_training_stop |= self.best.update(model, losses)
        return super().on_step_end(args, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        next(self.bar, None)


def train(
    model: Any, examples: Examples, config: InstructConfig, *, seed: int, pad_id: int, state: Path, log: LogMetrics
) -> list[LossPoint]:
    """Train `model` in place, from the newest complete checkpoint in `state` if there is one.

    Returns the losses by step; with `early_stopping` the model ends with the weights of the lowest held-out loss.
    Raises `DataError` if training diverges.
    """
    model.config.use_cache = False  # with a cache, transformers takes a packed row for one text
    rows: list[Any] = pack(examples.train, config.max_length) if config.packing else examples.train
    best = BestWeights(state, config.early_stopping) if config.early_stopping else None
    collate = collate_packed if config.packing else collate_padded
    trainer = Trainer(
        model=model,
        args=use_one_gpu(_arguments(config, seed, state)),
        train_dataset=rows,
        data_collator=lambda batch: collate(batch, pad_id),
        callbacks=[
            EpochCallback(
                lambda current: held_out_loss(current, examples.held_out, config.batch_size, pad_id),
                log,
                steps_per_epoch=math.ceil(len(rows) / config.batch_size),
                best=best,
            )
        ],
    )
    run_trainer(trainer, state)
    if best:
        best.restore(model)
    return _loss_points(trainer.state.log_history)


def run_trainer(trainer: Trainer, state: Path) -> None:
    """Train from the newest complete checkpoint in `state`, or from the start."""
    trainer.remove_callback(PrinterCallback)  # prints every log as a dictionary
    checkpoint = latest_checkpoint(state)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def shared_arguments(config: InstructConfig, seed: int, state: Path) -> dict[str, Any]:
    """Trainer arguments of supervised and preference training."""
    return {
        "output_dir": str(state),
        "per_device_train_batch_size": config.batch_size,
        "gradient_checkpointing": config.gradient_checkpointing,
        "lr_scheduler_type": "cosine",
        "seed": seed,
        "data_seed": seed,
        "full_determinism": True,  # deterministic kernels, at some cost on GPUs
        "logging_steps": LOG_EVERY,
        "logging_nan_inf_filter": False,  # it would replace a diverged loss by the mean of earlier ones
        "save_steps": CHECKPOINT_EVERY,
        "save_total_limit": 2,  # the newest may be incomplete after a kill
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,  # without a GPU it only warns; with one, batches are small
    }


def _arguments(config: InstructConfig, seed: int, state: Path) -> TrainingArguments:
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        **shared_arguments(config, seed, state),
        fp16=on_gpu and config.base_precision == "float16",
        bf16=on_gpu and config.base_precision == "bfloat16",
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.gradient_checkpointing else None,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        warmup_steps=WARMUP_FRACTION,  # a value below 1 is a fraction of all steps
        weight_decay=0.0,  # decay would pull fully trained embeddings of rare tokens to zero
        max_grad_norm=GRADIENT_CLIP,
        remove_unused_columns=False,  # packed rows are lists, which have no columns
    )


def use_one_gpu(arguments: Any) -> Any:
    """The arguments with the first visible GPU alone."""
    # In one process the Trainer would distribute a batch over all GPUs (`nn.DataParallel`) and make it as many times
    # larger; trl refuses to start. The Trainer sets the same field for a model that is spread over several GPUs.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def mark_complete(checkpoint: Path) -> None:
    """Mark a checkpoint as complete, once its files are on the disk."""
    for path in checkpoint.rglob("*"):
        # Else the mark could survive a power failure that the data did not.
        if path.is_file():
            with open(path, "rb+") as stream:
                os.fsync(stream.fileno())
    (checkpoint / COMPLETE).touch()


def latest_checkpoint(state: Path) -> Path | None:
    """The newest complete checkpoint in `state`. Incomplete and older ones are removed."""
    folders = sorted(state.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]), reverse=True)
    newest = next((folder for folder in folders if (folder / COMPLETE).exists()), None)
    # Removed, since the Trainer would count them among those that it keeps.
    for folder in folders:
        if folder != newest:
            shutil.rmtree(folder)
    return newest


def _loss_points(history: list[dict[str, float]]) -> list[LossPoint]:
    """The Trainer's log as one point per step."""
    # The log, not the Trainer's running mean of the loss, which restarts when a run is resumed.
    held_out = {int(entry["step"]): entry["held_out_loss"] for entry in history if "held_out_loss" in entry}
    return [
        LossPoint(int(entry["step"]), entry["loss"], held_out.get(int(entry["step"])))
        for entry in history
        if "loss" in entry
    ]
