"""Publish: trained weights to a float16 folder that stock `AutoModelForCausalLM.from_pretrained` loads.

In: `models/base`, or `models/instruct` (merged model and adapter), with the tokenizer and the index of the shards;
held-out text for the gates. Out: `gpt-oss/NAME` or `gpt-oss/NAME-instruct`: safetensors, configuration, tokenizer,
chat template, model card, licence, `gates.json`, `checksums.sha256`.
What can go wrong: a missing or damaged input, a tensor above `publish.max_shard_bytes`, a failed gate. Then nothing
is published, and a folder published before stays as it was (DVC removes it before it runs the stage; its cache and the
registry keep the bytes).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gptoss.config.settings import Settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import atomic_folder, write_json
from gptoss.core.errors import DataError
from gptoss.publish import agreement, configuration_files, gates, gguf_file, model_card, tokenizer_gates, weights
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

LICENSE = Path("LICENSE")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
THREADS = 1
"""Fixed, since sums depend on how many threads share them, and the gates' values are published."""


def publish(settings: Settings, run: StageRun, head: str) -> Metrics:
    """Cast, describe, check, and only then give the folder its name."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.set_num_threads(THREADS)
    source = paths.PRETRAINED if head == "base" else paths.INSTRUCT / "merged"
    target = paths.published(settings.name, head)
    if settings.publish.gguf:
        gguf_file.require(settings)
    with atomic_folder(target) as folder:
        converted = weights.convert(source, folder, settings.publish.max_shard_bytes)
        if head == "instruct":
            publish_adapter(paths.INSTRUCT / "adapter", folder, converted)
        copy_tokenizer(paths.TOKENIZER if head == "base" else source, folder)
        tokenizer = tokenizer_gates.tokenizer_of(paths.TOKENIZER)
        configuration_files.write_model_config(source, folder, tokenizer)
        configuration_files.write_generation_config(folder, tokenizer, head)
        if settings.publish.gguf:
            gguf_file.write(folder, target.name)
        model_card.write_card(folder, settings, head, converted)
        shutil.copyfile(LICENSE, folder / "LICENSE")
        checksums.write(folder, converted.sha256)
        windows = agreement.held_out_windows(settings, converted.parameters)
        results = gates.run_gates(folder, source, converted, settings, windows)
        gates.require(results, str(target))
        write_json(folder / "gates.json", gates.account(results))
        checksums.write(folder)
    for name in ("README.md", "gates.json"):
        run.artifact(target / name)
    return {
        "parameters": converted.parameters,
        "bytes": converted.bytes,
        "files": len(converted.files),
        "largest_weight": gates.significant(converted.largest),
        "gates": {gate.name: gate.value for gate in results},
    }


def publish_adapter(source: Path, folder: Path, converted: weights.Conversion) -> None:
    """The low-rank adapter in float16 to `folder/adapter`, where there is one; its faults count with the model's."""
    if not source.is_dir():
        return
    (folder / "adapter").mkdir()
    converted.add_adapter(weights.convert(source, folder / "adapter", max_bytes=2**63, single=weights.ADAPTER))
    shutil.copyfile(source / "adapter_config.json", folder / "adapter" / "adapter_config.json")


def copy_tokenizer(source: Path, folder: Path) -> None:
    """The tokenizer's files as they are. Raises `DataError` when there is none."""
    if not (source / "tokenizer.json").exists():
        raise DataError(f"{source} holds no tokenizer", "run `dvc repro tokenizer`")
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


if __name__ == "__main__":
    run_stage(publish, "publish", keys=lambda settings: paths.HEADS)
