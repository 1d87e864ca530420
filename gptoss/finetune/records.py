"""What fine-tuning reports besides weights: the record of its data, the loss curve, and metrics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from gptoss.config.instruct import InstructConfig
from gptoss.core import paths
from gptoss.core.atomic_files import write_text
from gptoss.finetune.conversations import Corpus
from gptoss.finetune.examples import Examples
from gptoss.finetune.fine_tuning import TrainingResult
from gptoss.finetune.preference_pairs import Preferences
from gptoss.finetune.training import LossPoint

CURVE = paths.REPORTS / "plots" / "instruct.csv"
# Decimals of a stored loss.
DIGITS = 6


def print_rejected(corpus: Corpus, preferences: Preferences | None) -> None:
    """Print how much was left out, by file."""
    for file, outcomes in corpus.files.items():
        if left_out := outcomes["duplicate"] + outcomes["rejected"]:
            print(f"{file}: {outcomes['used']} conversations; {left_out} lines left out, see conversations.json")
    for file, outcomes in preferences.files.items() if preferences else ():
        if outcomes["rejected"]:
            print(f"{file}: {outcomes['used']} pairs; {outcomes['rejected']} left out, see conversations.json")


def training_record(
    config: InstructConfig,
    corpus: Corpus,
    examples: Examples,
    preferences: Preferences | None,
    result: TrainingResult,
) -> dict[str, Any]:
    """The content of `conversations.json`: the outcome of every line and of training. The model card reads it."""
    record: dict[str, Any] = {
        # Without the user's paths, which say nothing to a reader of the published model.
        "training": config.model_dump(exclude={"data", "documents"}),
        "held_out": _round_losses(result),
        "counts": examples.counts(),
        "files": corpus.files,
        "held_out_ids": examples.held_out_ids,
        "rejected": [dataclasses.asdict(item) for item in corpus.rejected],
    }
    if preferences:
        rejected = [dataclasses.asdict(item) for item in preferences.rejected]
        record["preference"] = {"files": preferences.files, "rejected": rejected}
    return record


def write_curve(points: Sequence[LossPoint]) -> None:
    """Write `step,loss,held_out_loss`; the last is empty at steps where it was not measured."""
    lines = [
        f"{point.step},{point.loss:.6f},{'' if point.held_out_loss is None else f'{point.held_out_loss:.6f}'}"
        for point in points
    ]
    write_text(CURVE, "\n".join(["step,loss,held_out_loss", *lines]) + "\n")


def _round_losses(result: TrainingResult) -> dict[str, float]:
    return {"loss_before": round(result.loss_before, DIGITS), "loss": round(result.loss, DIGITS)}


def metrics(corpus: Corpus, examples: Examples, result: TrainingResult) -> dict[str, Any]:
    """Counts and losses for `dvc metrics show`."""
    # From the unrounded losses.
    before, after = math.exp(result.loss_before), math.exp(result.loss)
    values = {
        "conversations": examples.counts() | {"rejected": len(corpus.rejected)},
        "parameters": result.parameters,
        "steps": result.points[-1].step,
        "train_loss": round(result.points[-1].loss, DIGITS),
        "held_out": _round_losses(result) | {"perplexity_before": round(before, 4), "perplexity": round(after, 4)},
    }
    return values | {"preference": result.preference} if result.preference else values
