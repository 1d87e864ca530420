"""The facts of the report: a pure function of what the stages wrote, kept as `reports/facts.json`.

Nothing here depends on a clock: times, speeds and run ids are in `run_history.py`. A stage that has not run yet leaves
its part empty, which the pages show as "not measured".
"""

from __future__ import annotations

from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.models.decoder import parameter_count
from gptoss.report import corpus, curves, evaluation

PATH = paths.REPORTS / "facts.json"
# Tokenized for the report: common and rare words, a number, accents, typographic quotes.
SENTENCE = "The naïve reader of 1,024 cafés: “Shall I compare thee to a summer’s day?”"


def collect(settings: Settings) -> dict[str, Any]:
    """Everything that the report states and that follows from inputs and parameters."""
    return {
        "name": settings.name,
        "seed": settings.seed,
        "model": model(settings),
        "recipe": recipe(settings),
        "corpus": corpus.collect(settings),
        "tokenizer": tokenizer(settings),
        # None where the stage did not run.
        "training": curves.training(),
        "instruct": curves.instruct(),
        "samples": evaluation.samples(),
        "evaluation": evaluation.collect(),
        "metrics": metrics(settings),
    }


def model(settings: Settings) -> dict[str, Any]:
    """The architecture of the decoder and its number of parameters."""
    # Padded: the rows of the embedding that the model really has.
    vocabulary = settings.tokenizer.padded_vocab_size
    return {
        **settings.model.model_dump(),
        "vocab_size": vocabulary,
        "parameters": parameter_count(settings.model, vocabulary),
    }


def recipe(settings: Settings) -> dict[str, Any]:
    """How it was trained and measured."""
    pretrain, instruct = settings.pretrain, settings.instruct
    return {
        "steps": pretrain.steps,
        "batch_tokens": pretrain.batch_tokens,
        "tokens": pretrain.steps * pretrain.batch_tokens,
        "learning_rate": pretrain.learning_rate,
        "warmup_steps": pretrain.warmup_steps,
        "precision": pretrain.precision,
        "instruct_method": instruct.method,
        "instruct_epochs": instruct.epochs,
        "max_new_tokens": settings.evaluate.max_new_tokens,
    }


def metrics(settings: Settings) -> dict[str, Any]:
    """The metrics of the stages before the report, by stage."""
    # A fixed list instead of all files in metrics/: those of earlier configurations must not enter the facts.
    per_source = [f"{stage}@{source}" for stage in ("ingest", "curate") for source in sorted(settings.sources)]
    single = ["dedup", "benchmarks", "decontaminate", "tokenizer", "shards", "pretrain", "instruct"]
    per_variant = [f"{stage}@{variant}" for stage in ("publish", "evaluate") for variant in paths.VARIANTS]
    stages = [*per_source, *single, *per_variant]
    return {stage: read_json(path) for stage in stages if (path := paths.metrics(stage)).exists()}


def tokenizer(settings: Settings) -> dict[str, Any]:
    """Vocabulary size, tokens and bytes of every source, and the tokens of a sentence."""
    measured = paths.metrics("shards")
    splits = read_json(measured) if measured.exists() else {}
    return {
        "algorithm": settings.tokenizer.algorithm,
        "vocab_size": settings.tokenizer.vocab_size,
        "splits": {
            split: {key: entry.get(key) for key in ("documents", "tokens", "bytes", "sources")}
            for split, entry in splits.items()
        },
        "pieces": pieces(SENTENCE),
    }


def pieces(sentence: str) -> list[list[Any]]:
    """The tokens of the sentence as `[text, number]`; a character of several tokens is one entry with their number."""
    # Only the tokenizer's own file is needed; transformers would take seconds to import.
    from tokenizers import Tokenizer

    path = paths.TOKENIZER / "tokenizer.json"
    if not path.exists():
        return []
    cut: list[list[Any]] = []
    done = 0  # characters of the sentence that are in an entry
    for _, end in Tokenizer.from_file(str(path)).encode(sentence, add_special_tokens=False).offsets:
        if end > done:  # from `done`, not from the token's start: some tokenizers leave spaces out of their offsets
            cut.append([sentence[done:end], 1])
            done = end
        elif cut:
            cut[-1][1] += 1
    return cut
