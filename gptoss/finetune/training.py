"""Fine-tune with the Hugging Face Trainer: deterministic, resumable, loss on the assistant's tokens alone.

One process, one GPU at most, float32, a fixed number of threads: two runs give the same bytes. Every
`CHECKPOINT_EVERY` steps the Trainer writes weights, optimizer, schedule and random state to a folder; `resumable` finds
the newest whole one, and a run that continues from it ends in the bytes of an undisturbed one. For that, losses are
logged at checkpoints too (the Trainer forgets a half-summed loss) and read from its log, never from its running mean.
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

from gptoss.config.instruct import InstructConfig
from gptoss.core.errors import DataError
from gptoss.core.progress import progress
from gptoss.finetune.early_stopping import Best
from gptoss.finetune.examples import IGNORED, Example, Examples
from gptoss.finetune.packing import joined, pack, pad

THREADS = 1
"""Fixed, since sums depend on how many threads share them. One, since a second thread saves a small model little on
an idle machine (24 s instead of 35) and costs much on a busy one, where each waits for the other (210 s instead
of 35)."""
LOG_EVERY = 10
CHECKPOINT_EVERY = 50
"""Steps."""
WARMUP_FRACTION = 0.05
GRADIENT_CLIP = 1.0
COMPLETE = "complete"
"""Marks a checkpoint folder whose every file was written."""

LogMetrics = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class Point:
    """The losses at one step; `held_out_loss` is measured at the end of an epoch."""

    step: int
    loss: float
    held_out_loss: float | None


def held_out_loss(model: Any, examples: list[Example], batch_size: int, pad_id: int) -> float:
    """Mean cross entropy of the assistant's tokens, nats, each token counting the same."""
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    for start in range(0, len(examples), batch_size):
        padded = pad(examples[start : start + batch_size], pad_id)
        batch = {name: part.to(model.device) for name, part in padded.items()}
        targets = batch.pop("labels")[:, 1:]
        with torch.no_grad():
            logits_BTV = model(**batch).logits[:, :-1]
        total += torch.nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        tokens += int((targets != IGNORED).sum())
    model.train(was_training)
    return total / tokens


def require_finite(loss: float, step: int) -> float:
    """The loss; a `DataError` when it is not a number any more."""
    if not math.isfinite(loss):
        raise DataError(f"training diverged: the loss is {loss} at step {step}", "lower instruct.learning_rate")
    return loss


class Sealer(TrainerCallback):  # type: ignore[misc]
    """Logs the loss, which must be finite, and seals checkpoints."""

    def __init__(self, log: LogMetrics) -> None:
        self.log = log
        self.started = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if control.should_save:
            control.should_log = True
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            require_finite(logs["loss"], state.global_step)
            rate = {"learning_rate": logs["learning_rate"], "seconds": time.monotonic() - self.started}
            self.log({"loss": logs["loss"], **rate}, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class Watcher(Sealer):
    """Measures the held-out loss at the end of each epoch, shows progress, and stops early.

    When to stop is a function of the losses in the Trainer's log, which its checkpoints hold: a resumed run decides
    as an undisturbed one."""

    def __init__(
        self, measure: Callable[[Any], float], log: LogMetrics, steps_per_epoch: int, best: Best | None
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
            state.log_history.append({"step": state.global_step, "held_out_loss": loss})
            self.log({"held_out_loss": loss}, state.global_step)
            control.should_log = True
            if self.best:
                losses = [entry["held_out_loss"] for entry in state.log_history if "held_out_loss" in entry]
                control.should_training_stop |= self.best.consider(model, losses)
        return super().on_step_end(args, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        next(self.bar, None)


def train(
    model: Any, examples: Examples, settings: InstructConfig, *, seed: int, pad_id: int, state: Path, log: LogMetrics
) -> list[Point]:
    """Train `model` in place, from the newest whole checkpoint in `state` if there is one.

    Returns the losses by step; with `early_stopping` the model is left as it was when the held-out loss was lowest.
    Raises `DataError` when training diverges.
    """
    model.config.use_cache = False  # with a cache, transformers takes a packed row for one text
    rows: list[Any] = pack(examples.train, settings.max_length) if settings.packing else examples.train
    best = Best(state, settings.early_stopping) if settings.early_stopping else None
    watcher = Watcher(
        lambda current: held_out_loss(current, examples.held_out, settings.batch_size, pad_id),
        log,
        steps_per_epoch=math.ceil(len(rows) / settings.batch_size),
        best=best,
    )
    collate = joined if settings.packing else pad
    trainer = Trainer(
        model=model,
        args=on_one_gpu(_arguments(settings, seed, state)),
        train_dataset=rows,
        data_collator=lambda batch: collate(batch, pad_id),
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = resumable(state)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if best:
        best.restore(model)
    return _points(trainer.state.log_history)


def _arguments(settings: InstructConfig, seed: int, state: Path) -> TrainingArguments:
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(state),
        fp16=on_gpu and settings.base_precision == "float16",
        bf16=on_gpu and settings.base_precision == "bfloat16",
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=WARMUP_FRACTION,
        weight_decay=0.0,
        max_grad_norm=GRADIENT_CLIP,
        seed=seed,
        data_seed=seed,
        full_determinism=True,
        logging_strategy="steps",
        logging_steps=LOG_EVERY,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=CHECKPOINT_EVERY,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def on_one_gpu(arguments: Any) -> Any:
    """The arguments with the first visible GPU alone: in one process the Trainer would share a batch out over all that
    there are (`nn.DataParallel`) and make it so many times larger, and trl refuses to start."""
    arguments._n_gpu = min(arguments.n_gpu, 1)  # as the Trainer does it for a model that is spread over several
    return arguments


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as whole, once its files are on the disc."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            with open(path, "rb+") as stream:
                os.fsync(stream.fileno())
    (checkpoint / COMPLETE).touch()


def resumable(state: Path) -> Path | None:
    """The newest whole checkpoint in `state`; a half-written one and older ones are removed."""
    folders = sorted(state.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]), reverse=True)
    newest = next((folder for folder in folders if (folder / COMPLETE).exists()), None)
    for folder in folders:
        if folder != newest:
            shutil.rmtree(folder)
    return newest


def _points(history: list[dict[str, float]]) -> list[Point]:
    """The Trainer's log as one point a step."""
    held_out = {int(entry["step"]): entry["held_out_loss"] for entry in history if "held_out_loss" in entry}
    return [
        Point(int(entry["step"]), entry["loss"], held_out.get(int(entry["step"])))
        for entry in history
        if "loss" in entry
    ]
