"""Teach a model that can chat what a company's documents say, and measure what it then knows.

In: facts (`knowledge.py`), a published model, the settings of Instruct. Out: a folder with the float16 model, its
adapter, `evaluation.json` (base and assistant asked the same held-out questions, and which facts were left out) and
checksums, whole or not there. A fact that spells a control token of the base would forge a turn, and is left out.
The project's own conversations are taught again beside the documents, so that what the base could do is not unlearnt.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.config.instruct import InstructConfig
from gptoss.config.settings import Settings
from gptoss.core.atomic_files import atomic_folder, read_json, sha256_file, write_json
from gptoss.core.errors import DataError
from gptoss.finetune.adapters import tokenizer_files
from gptoss.finetune.conversations import read_corpus
from gptoss.finetune.knowledge import Fact, usable
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.provenance import Dependencies

if TYPE_CHECKING:
    from gptoss.publish.weights import Conversion


def instruct_settings(settings: Settings, base: Path, epochs: int | None) -> InstructConfig:
    """The settings of Instruct for this base: rows as long as the base can read, its embeddings left as they are."""
    context = int(read_json(base / "config.json")["max_position_embeddings"])
    changes: dict[str, Any] = {"max_length": min(settings.instruct.max_length, context), "system_prompt": ""}
    if epochs:
        changes["epochs"] = epochs
    return settings.instruct.model_copy(update=changes)


def dependencies(facts: list[Fact], base: Path, options: InstructConfig, settings: Settings) -> Dependencies:
    """What the assistant is made of: the identity of its run and of its resume state."""
    files = [*base.glob("*.safetensors"), *tokenizer_files(base), base / "config.json"]
    hashes = {path.name: sha256_file(path) for path in sorted(files)} | {
        "documents": hashlib.sha256(repr(facts).encode()).hexdigest(),
        "shipped": read_corpus([], [], []).digest,
    }
    return Dependencies("assistant", hashes, options.model_dump(mode="json") | {"seed": settings.seed})


def build(
    facts: list[Fact], base: Path, target: Path, settings: Settings, options: InstructConfig, run: StageRun
) -> dict[str, Any]:
    """Ask the base, teach it, ask again, and write `target` whole or not at all."""
    import torch

    from gptoss.assistant import quiz
    from gptoss.finetune import adapters, examples, training

    torch.set_num_threads(training.THREADS)
    model, tokenizer = adapters.load_base(base, options)
    control_tokens = adapters.control_tokens(tokenizer)
    facts, rejected = usable_facts(facts, control_tokens)
    before = quiz.ask(model, tokenizer, facts, seed=settings.seed, max_length=options.max_length)
    taught = [conversation for fact in facts for conversation in fact.conversations()]
    shipped = read_corpus([], [], control_tokens).conversations
    encoded = examples.make_examples(
        tokenizer, [*taught, *shipped], max_length=options.max_length,
        fraction=options.held_out_fraction, seed=settings.seed,
    )  # fmt: skip
    model = adapters.trainable(model, options, settings.seed)
    training.train(
        model, encoded, options, seed=settings.seed, pad_id=tokenizer.pad_token_id,
        state=run.state / "trainer", log=lambda values, step: run.metrics(values, step),
    )  # fmt: skip
    after = quiz.ask(model, tokenizer, facts, seed=settings.seed, max_length=options.max_length)
    evaluation = {"assistant": after, "base": before, "base_folder": str(base), "rejected": rejected}
    run.metrics({f"{who}_{key}": found[key] for who, found in (("assistant", after), ("base", before))
                 for key in ("choice", "rouge_l")})  # fmt: skip
    write(model, tokenizer, base, target, options, settings, evaluation)
    return evaluation


def usable_facts(facts: list[Fact], control_tokens: list[str]) -> tuple[list[Fact], list[dict[str, Any]]]:
    """The facts to teach, and an account of the others, which is also said. Raises `DataError` when none is left."""
    kept, rejected = usable(facts, control_tokens)
    reasons = [f"{item.file}: {item.reason}: {item.detail}" for item in rejected]
    if not kept:
        raise DataError(f"none of {len(facts)} facts can be used; {reasons[0]}", "mend the documents")
    if rejected:
        print(f"{len(rejected)} of {len(facts)} facts left out, see evaluation.json; {reasons[0]}")
    return kept, [dataclasses.asdict(item) for item in rejected]


def write(
    model: Any, tokenizer: Any, base: Path, target: Path, options: InstructConfig, settings: Settings, evaluation: Any
) -> None:
    """The float16 folder with its adapter, evaluation and checksums. Raises `DataError` for weights that float16 cannot
    hold."""
    from gptoss.core import checksums
    from gptoss.finetune import adapters
    from gptoss.publish import configuration_files, weights

    with tempfile.TemporaryDirectory(dir=target.parent if target.parent.exists() else None) as trained:
        adapters.save(model, tokenizer, base, Path(trained), options)
        with atomic_folder(target) as folder:
            merged = Path(trained) / "merged"
            require_float16(weights.convert(merged, folder, settings.publish.max_shard_bytes))
            for path in tokenizer_files(merged):
                shutil.copyfile(path, folder / path.name)
            configuration_files.write_model_config(merged, folder, tokenizer)
            configuration_files.write_generation_config(folder, tokenizer, "instruct")
            if (Path(trained) / "adapter").is_dir():
                shutil.copytree(Path(trained) / "adapter", folder / "adapter")
            write_json(folder / "evaluation.json", evaluation)
            checksums.write(folder)


def require_float16(converted: Conversion) -> None:
    """Raises `DataError` naming the first tensor that would be published with infinity or no number in it."""
    for names, fault in ((converted.not_finite, "is not finite"), (converted.overflowing, "exceeds float16")):
        if names:
            raise DataError(
                f"the trained tensor {names[0]} {fault} ({len(names)} such tensors): nothing was published",
                "lower instruct.learning_rate or --epochs, or name another model with --base",
            )
