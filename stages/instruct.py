"""Instruct: teach the published base model to answer in chat format, and to stop.

In: `gpt-oss/NAME` (the published base), the conversations that ship with the project, the JSON lines files that match
`instruct.data`, and the documents in the folders `instruct.documents`. Out: `models/instruct/merged` (float32, with its
tokenizer), `adapter` (not for `full`), `conversations.json` (what was read, rejected, truncated and held out) and
`reports/plots/instruct.csv`.
What can go wrong: a pattern that matches nothing, files with too many bad lines, a chat template that marks no
assistant tokens, a diverging loss. Bad lines are skipped, counted and listed.
Method: LoRA (Hu et al. 2021) on all linear layers, loss on the assistant's tokens alone as in InstructGPT
(Ouyang et al. 2022, section 3.5), cosine schedule; then, with `instruct.preference`, direct preference optimisation
(Rafailov et al. 2023) of the same weights. Resumes after a kill, with the same bytes.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder, write_json, write_text
from gptoss.finetune.conversations import Corpus, read_corpus
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

if TYPE_CHECKING:
    from gptoss.finetune.examples import Examples
    from gptoss.finetune.preference import Preferences
    from gptoss.finetune.training import Point

CURVE = paths.REPORTS / "plots" / "instruct.csv"


def instruct(settings: Settings, run: StageRun) -> Metrics:
    """Read, encode, train, merge, write. Returns counts and losses before and after."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from gptoss.finetune import adapters, examples, preference, training

    disable_progress_bar()
    torch.set_num_threads(training.THREADS)
    options = settings.instruct
    base_folder = paths.published(settings.name, "base")
    base, tokenizer = adapters.load_base(base_folder, options)
    control_tokens = adapters.control_tokens(tokenizer)
    corpus = read_corpus(options.data, options.documents, control_tokens)
    preferences = preference.read_preferences(options, tokenizer, control_tokens)
    encoded = examples.make_examples(
        tokenizer,
        corpus.conversations,
        max_length=options.max_length,
        fraction=options.held_out_fraction,
        seed=settings.seed,
    )
    report_rejected(corpus, preferences)
    before = training.held_out_loss(base, encoded.held_out, options.batch_size, tokenizer.pad_token_id)
    total = base.num_parameters()
    model = adapters.trainable(base, options, settings.seed)
    trained = adapters.trained_parameters(model)
    points = training.train(
        model,
        encoded,
        options,
        seed=settings.seed,
        pad_id=tokenizer.pad_token_id,
        state=resume_folder(run, corpus),
        log=lambda values, step: run.metrics(values, step),
    )
    preferred = (
        preference.optimise(model, tokenizer, preferences, settings, run, corpus.digest) if preferences else None
    )
    after = training.held_out_loss(model, encoded.held_out, options.batch_size, tokenizer.pad_token_id)
    losses = {"loss_before": round(before, 6), "loss": round(after, 6)}
    with atomic_folder(paths.INSTRUCT) as folder:
        adapters.save(model, tokenizer, base_folder, folder, options)
        write_json(folder / "conversations.json", account(settings, corpus, encoded, preferences, losses))
    write_curve(CURVE, points)
    return {
        "conversations": encoded.counts() | {"rejected": len(corpus.rejected)},
        "parameters": {"trained": trained, "total": total},
        "steps": points[-1].step,
        "train_loss": round(points[-1].loss, 6),
        "held_out": losses | {"perplexity_before": round(math.exp(before), 4), "perplexity": round(math.exp(after), 4)},
    } | ({"preference": preferred} if preferred else {})


def resume_folder(run: StageRun, corpus: Corpus) -> Path:
    """The Trainer's checkpoints of exactly this data: the user's files are no DVC dependency, so the stage's own
    fingerprint does not know them."""
    return run.state / "trainer" / corpus.digest[:16]


def report_rejected(corpus: Corpus, preferences: Preferences | None) -> None:
    """Say how much was left out, by file."""
    for file, outcomes in corpus.files.items():
        left_out = outcomes["duplicate"] + outcomes["rejected"]
        if left_out:
            print(f"{file}: {outcomes['used']} conversations; {left_out} lines left out, see conversations.json")
    for file, outcomes in preferences.files.items() if preferences else ():
        if outcomes["rejected"]:
            print(f"{file}: {outcomes['used']} pairs; {outcomes['rejected']} left out, see conversations.json")


def account(
    settings: Settings,
    corpus: Corpus,
    encoded: Examples,
    preferences: Preferences | None,
    losses: dict[str, float],
) -> dict[str, Any]:
    """What became of every line, and what was learnt from them; the model card reads it."""
    found: dict[str, Any] = {
        "training": settings.instruct.model_dump(exclude={"data", "documents"}),
        "held_out": losses,
        "counts": encoded.counts(),
        "files": corpus.files,
        "held_out_ids": encoded.held_out_ids,
        "rejected": [dataclasses.asdict(item) for item in corpus.rejected],
    }
    if preferences:
        rejected = [dataclasses.asdict(item) for item in preferences.rejected]
        found["preference"] = {"files": preferences.files, "rejected": rejected}
    return found


def write_curve(path: Path, points: list[Point]) -> None:
    """`step,loss,held_out_loss`; the last is blank where it was not measured."""
    rows = [
        f"{point.step},{point.loss:.6f},{'' if point.held_out_loss is None else f'{point.held_out_loss:.6f}'}"
        for point in points
    ]
    write_text(path, "\n".join(["step,loss,held_out_loss", *rows]) + "\n")


if __name__ == "__main__":
    run_stage(instruct, "instruct")
