"""The base model in float32, its low-rank adapter, and the files that Instruct leaves.

LoRA (Hu et al. 2021, section 4.1) on every linear layer; with `train_embeddings` the embeddings and the output
layer are trained whole, since the chat tokens were never seen in pretraining. Trainable weights are float32:
a half-precision copy would lose small updates and cannot be unscaled.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from stages.errors import DataError, UserError
from stages.settings import Instruct
from stages.storage import read_json, write_json

UNBOUNDED = 2**63
"""Conversations are cut, and counted, after they are tokenised: the tokenizer need not warn."""
FILE_MODE = 0o644
"""safetensors writes files that only their owner may read."""


def load_base(folder: Path) -> tuple[Any, Any]:
    """The published base model (float32) and its tokenizer, from files only."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").exists():
        raise UserError(f"{folder} holds no published base model", "run `dvc repro publish@base`, which makes it")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None or tokenizer.pad_token_id is None:
        raise DataError(
            f"the tokenizer in {folder} has no chat template or no padding token",
            "run `dvc repro tokenizer`, which writes both",
        )
    tokenizer.model_max_length = UNBOUNDED
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model.config.use_cache = False
    return model, tokenizer


def trainable(model: Any, settings: Instruct, seed: int) -> Any:
    """`model` with an adapter around it (`lora`), or itself with every weight trainable (`full`)."""
    from transformers import set_seed

    set_seed(seed)
    if settings.method == "full":
        return model.requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        modules_to_save=embeddings(model) if settings.train_embeddings else None,
        ensure_weight_tying=bool(model.config.tie_word_embeddings),
    )
    return get_peft_model(model, config)


def embeddings(model: Any) -> list[str]:
    """What the model calls its embedding and its head; a tied head follows the embedding."""
    parts = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        parts.append(model.get_output_embeddings())
    return [name.rpartition(".")[2] for name, part in model.named_modules() if any(part is one for one in parts)]


def trained_parameters(model: Any) -> int:
    """How many values are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def save(model: Any, tokenizer_folder: Path, folder: Path, method: str) -> None:
    """Write `folder/adapter` (lora only) and `folder/merged`, a stock model with its tokenizer."""
    if method == "lora":
        _save_adapter(model, folder / "adapter")
        model = model.merge_and_unload()
    merged = folder / "merged"
    model.config.use_cache = True
    model.save_pretrained(merged, max_shard_size="5GB")
    for path in tokenizer_files(tokenizer_folder):
        shutil.copyfile(path, merged / path.name)
    for path in folder.rglob("*.safetensors"):
        path.chmod(FILE_MODE)


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a tokenizer folder, whichever of them there are."""
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
    return [folder / name for name in names if (folder / name).exists()]


def _save_adapter(model: Any, folder: Path) -> None:
    """peft's files, with its sets in a fixed order and without its empty model card."""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    config = read_json(folder / "adapter_config.json")
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(folder / "adapter_config.json", config)
