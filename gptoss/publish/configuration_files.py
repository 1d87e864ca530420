"""`config.json` and `generation_config.json` of the published folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.config.tokenizer import MESSAGE_END
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import DataError
from gptoss.models.architecture import stock_classes


def write_model_config(source: Path, folder: Path, tokenizer: Any) -> None:
    """Write the training configuration with dtype float16 and the ids of the tokenizer.

    Errors: `DataError` when it cannot be read, or names an architecture that is not one of ours.
    """
    path = source / "config.json"
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", f"remove {source} and run `dvc repro`") from None
    known = stock_classes()
    # Exactly one architecture: transformers loads the first, other engines may take another.
    if config.get("architectures") not in [[name] for name in known]:
        raise DataError(
            f"{path} says architectures {config.get('architectures')}, not one of {', '.join(known)}",
            f"remove {source} and run `dvc repro`, which makes it again",
        )
    # Rotary parameters are written twice: in `rope_parameters` for transformers 5, and under the keys of transformers
    # 4, which inference engines still read. Without those they silently assume a base of 10,000 and no scaling.
    rope = config.get("rope_parameters") or {"rope_theta": config["rope_theta"], "rope_type": "default"}
    config |= {
        "bos_token_id": tokenizer.bos_token_id,
        "dtype": "float16",
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": rope,
        **_transformers_4_rope(rope),
        "use_cache": True,  # fine-tuning may have switched the key-value cache off
    }
    # transformers stores the path it loaded from; a path of this machine would make the bytes depend on the machine.
    config.pop("_name_or_path", None)
    write_json(folder / "config.json", config)


def _transformers_4_rope(rope: dict[str, Any]) -> dict[str, Any]:
    scaling = {} if rope["rope_type"] == "default" else {"rope_scaling": rope}
    if "partial_rotary_factor" in rope:  # GPT-NeoX, whose keys have names of their own
        return {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"], **scaling}
    return {"rope_theta": rope["rope_theta"], **scaling}


def write_generation_config(folder: Path, tokenizer: Any, variant: str) -> None:
    """Write when generation stops: at the end of a document, for the Instruct model also at the end of a message."""
    stop_ids = [tokenizer.eos_token_id]
    if variant == "instruct":
        stop_ids = [tokenizer.convert_tokens_to_ids(MESSAGE_END), *stop_ids]
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": tokenizer.bos_token_id,
            # A single id is written as a number: older engines do not accept a list.
            "eos_token_id": stop_ids if len(stop_ids) > 1 else stop_ids[0],
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
