"""Fine-tune a chat model on the contents of a company's documents, and measure what it knows before and after.

In: facts (`finetune/document_facts.py`), a published model, the configuration of Instruct. Out: a folder with the
float16 model, its adapter, `evaluation.json` (the same held-out questions to base and assistant, and which facts were
left out) and checksums; it appears complete or not at all. A fact that spells a special token of the base could forge a
turn and is left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gptoss.assistant import quiz
from gptoss.config.instruct import InstructConfig
from gptoss.config.settings import Settings
from gptoss.core import checksums
from gptoss.core.atomic_files import atomic_folder, read_json, sha256_file, write_json
from gptoss.core.errors import DataError
from gptoss.finetune import adapters, training
from gptoss.finetune.conversations import read_corpus
from gptoss.finetune.document_facts import Fact, split_usable
from gptoss.finetune.examples import make_examples
from gptoss.publish import configuration_files, weights
from gptoss.tokenizer.folder import tokenizer_files
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.provenance import Dependencies


def assistant_config(settings: Settings, base: Path, epochs: int | None) -> InstructConfig:
    """The configuration of Instruct with changes for this base."""
    context = int(read_json(base / "config.json")["max_position_embeddings"])
    # The chat template of the base has its own system prompt already.
    changes: dict[str, Any] = {"max_length": min(settings.instruct.max_length, context), "system_prompt": ""}
    if epochs:
        changes["epochs"] = epochs
    return settings.instruct.model_copy(update=changes)


def dependencies(facts: list[Fact], base: Path, config: InstructConfig, seed: int) -> Dependencies:
    """Everything that determines the assistant: the identity of its run and of its checkpoints."""
    files = [*base.glob("*.safetensors"), *tokenizer_files(base), base / "config.json"]
    # Weights, tokenizer and configuration of the base by content: a model at the same path may have been replaced.
    hashes = {path.name: sha256_file(path) for path in sorted(files)} | {
        "documents": hashlib.sha256(repr(facts).encode()).hexdigest(),
        "shipped": read_corpus([], [], []).digest,
    }
    return Dependencies("assistant", hashes, config.model_dump(mode="json") | {"seed": seed})


def build(
    facts: list[Fact], base: Path, target: Path, settings: Settings, config: InstructConfig, run: StageRun
) -> dict[str, Any]:
    """Ask the base, train it, ask again, and write `target`. Returns the content of `evaluation.json`."""
    seed = settings.seed
    training.prepare_process()
    model, tokenizer = adapters.load_base(base, config)
    special_tokens = adapters.special_token_texts(tokenizer)
    facts, rejected = usable_facts(facts, special_tokens)
    # Before the adapter is added: an untrained one changes no output, but takes time.
    before = quiz.ask(model, tokenizer, facts, seed=seed, max_length=config.max_length)
    conversations = [conversation for fact in facts for conversation in fact.conversations()]
    # The shipped conversations again: trained on documents alone, the model would forget how to chat and to refuse.
    conversations += read_corpus([], [], special_tokens).conversations
    examples = make_examples(
        tokenizer, conversations, max_length=config.max_length, fraction=config.held_out_fraction, seed=seed
    )
    model = adapters.make_trainable(model, config, seed)
    state, pad_id = run.state / "trainer", tokenizer.pad_token_id
    training.train(model, examples, config, seed=seed, pad_id=pad_id, state=state, log=run.log_metrics)
    after = quiz.ask(model, tokenizer, facts, seed=seed, max_length=config.max_length)
    run.log_metrics({
        f"{who}_{figure}": answers[figure]
        for who, answers in (("assistant", after), ("base", before))
        for figure in ("choice", "rouge_l")
    })  # fmt: skip
    evaluation = {"assistant": after, "base": before, "base_folder": str(base), "rejected": rejected}
    write(model, tokenizer, base, target, config, settings.publish.max_shard_bytes, evaluation)
    return evaluation


def usable_facts(facts: list[Fact], special_tokens: list[str]) -> tuple[list[Fact], list[dict[str, Any]]]:
    """The facts to train on, and a record of the others. Raises `DataError` if none is left."""
    usable, rejected = split_usable(facts, special_tokens)
    reasons = [f"{item.file}: {item.reason}: {item.detail}" for item in rejected]
    if not usable:
        raise DataError(f"none of {len(facts)} facts can be used; {reasons[0]}", "correct the documents")
    if rejected:
        print(f"{len(rejected)} of {len(facts)} facts left out, see evaluation.json; {reasons[0]}")
    return usable, [dataclasses.asdict(item) for item in rejected]


def write(
    model: Any, tokenizer: Any, base: Path, target: Path, config: InstructConfig, max_shard_bytes: int, evaluation: Any
) -> None:
    """Write the float16 folder with its adapter, evaluation and checksums. Raises `DataError` for weights that float16
    cannot hold."""
    # Beside the target where possible: the default temporary folder may be a small file system in memory.
    with tempfile.TemporaryDirectory(dir=target.parent if target.parent.exists() else None) as temporary:
        adapters.save(model, tokenizer, base, Path(temporary), config)
        merged, adapter = Path(temporary) / "merged", Path(temporary) / "adapter"
        with atomic_folder(target) as folder:
            require_float16(weights.convert(merged, folder, max_shard_bytes))
            for path in tokenizer_files(merged):
                shutil.copyfile(path, folder / path.name)
            configuration_files.write_model_config(merged, folder, tokenizer)
            configuration_files.write_generation_config(folder, tokenizer, "instruct")
            if adapter.is_dir():  # not for `full`
                shutil.copytree(adapter, folder / "adapter")
            write_json(folder / "evaluation.json", evaluation)
            checksums.add_missing(folder)


def require_float16(conversion: weights.Conversion) -> None:
    """Raise `DataError` naming the first tensor with NaN or infinity in it after the conversion."""
    for names, fault in ((conversion.not_finite, "is not finite"), (conversion.overflowing, "exceeds float16")):
        if names:
            raise DataError(
                f"the trained tensor {names[0]} {fault} ({len(names)} such tensors): nothing was published",
                "lower instruct.learning_rate or --epochs, or name another model with --base",
            )
