"""`config.json` and `generation_config.json` of the published folder.

What concerns rotary positions stands twice: inside `rope_parameters`, where transformers 5 reads it, and under the
names by which serving engines and transformers 4 know it; without them they would silently assume 10,000 and no
scaling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.config.tokenizer import MESSAGE_END
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import DataError
from gptoss.models.architecture import stock_classes
from gptoss.tables.token_files import read_index

NOT_SHAPE = {"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "initializer_range", "use_cache"}
"""Entries of `config.json` that publishing sets, or that do not change what the model computes."""


def write_model_config(source: Path, folder: Path, tokenizer: Any) -> None:
    """The training configuration with float16 and the tokenizer's ids. Raises `DataError` for another architecture."""
    path = source / "config.json"
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", f"remove {source} and run `dvc repro`") from None
    known = stock_classes()
    if config.get("architectures") not in [[name] for name in known]:
        raise DataError(
            f"{path} says architectures {config.get('architectures')}, not one of {', '.join(known)}",
            f"remove {source} and run `dvc repro`, which makes it again",
        )
    rope = config.get("rope_parameters") or {"rope_theta": config["rope_theta"], "rope_type": "default"}
    config |= {
        "bos_token_id": tokenizer.bos_token_id,
        "dtype": "float16",
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": rope,
        **older_names(rope),
        "use_cache": True,
    }
    config.pop("_name_or_path", None)
    write_json(folder / "config.json", config)


def older_names(rope: dict[str, Any]) -> dict[str, Any]:
    """The rotary parameters as transformers 4 wrote them."""
    scaling = {} if rope["rope_type"] == "default" else {"rope_scaling": rope}
    if "partial_rotary_factor" in rope:
        return {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"], **scaling}
    return {"rope_theta": rope["rope_theta"], **scaling}


def differing(folder: Path, settings: Settings) -> tuple[int, str]:
    """How many entries of `config.json` differ from what was trained, and which. A wrong one may load all the same,
    and compute something else."""
    from transformers import AutoConfig

    from gptoss.models.decoder import hugging_face_config

    trained = hugging_face_config(settings.model, read_index(paths.SHARDS)["vocab_size"])
    expected = AutoConfig.for_model(**trained).to_dict()
    found = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
    wrong = [
        f"{key} is {found.get(key)}, trained was {expected[key]}"
        for key in sorted(set(trained) - NOT_SHAPE)
        if found.get(key) != expected[key]
    ]
    return len(wrong), "config.json: " + ("; ".join(wrong) or "the shape that was trained")


def write_generation_config(folder: Path, tokenizer: Any, head: str) -> None:
    """When to stop: at the end of a document, and for the Instruct head at the end of a message."""
    ends = [tokenizer.eos_token_id]
    if head == "instruct":
        ends = [tokenizer.convert_tokens_to_ids(MESSAGE_END), *ends]
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": ends if len(ends) > 1 else ends[0],
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
