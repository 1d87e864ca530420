"""Small inputs of `publish` and `instruct`: tokenizer, token files, base and Instruct model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gptoss.config.settings import Settings
from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.core import paths
from gptoss.tracking.mlflow_run import StageRun
from stages.publish import publish
from tests.toy_model import byte_bpe, random_llama

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 128
VOCABULARY = 384
TEXT = "The city of Paris is the capital of France, and the city of Rome is the capital of Italy.\n" * 40


def toy_settings(settings_with: Callable[..., Settings], **changes: object) -> Settings:
    """The tiny settings with the sizes of `make_model`."""
    sizes = {
        "name": "20B",
        "model.hidden_size": 32,
        "model.layers": 2,
        "model.ffn_size": 64,
        "model.context": CONTEXT,
        "tokenizer.vocab_size": VOCABULARY,
        "pretrain.steps": 1000,
        "pretrain.batch_tokens": 4096,
        "instruct.max_length": CONTEXT,
        "instruct.lora_rank": 16,
        "instruct.learning_rate": 0.003,
    }
    return settings_with(**(sizes | changes))


def make_tokenizer(folder: Path, texts: Iterable[str] = (TEXT,)) -> None:
    """The project's tokenizer folder around a small byte-level BPE."""
    from gptoss.tokenizer import folder as tokenizer_folder

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_folder.write(folder, byte_bpe(texts, VOCABULARY, SPECIAL_TOKENS), CONTEXT)


def make_model(folder: Path, *, dtype: str = "float32", seed: int = 0, max_shard_size: str = "5GB") -> None:
    """A random Llama, as `pretrain` (float32) or `publish` (float16) write it."""
    import torch

    model = random_llama(VOCABULARY, CONTEXT, seed=seed, rms_norm_eps=1e-5, tie_word_embeddings=False)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)


def make_shards(folder: Path = paths.SHARDS) -> None:
    """One token file per split; each holds all of `TEXT`."""
    from transformers import AutoTokenizer

    ids = [0, *AutoTokenizer.from_pretrained(paths.TOKENIZER)(TEXT)["input_ids"]]
    raw = np.array(ids, dtype="<u2").tobytes()
    counts = {"documents": 1, "tokens": len(ids), "bytes": len(TEXT)}
    splits = {}
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        file = f"{split}-00000.bin"
        (folder / file).write_bytes(raw)
        shard = {"file": file, "tokens": len(ids), "sha256": hashlib.sha256(raw).hexdigest()}
        splits[split] = {"shards": [shard], "sources": {"gutenberg": {"start": 0} | counts}} | counts
    tokenizer = hashlib.sha256((paths.TOKENIZER / "tokenizer.json").read_bytes()).hexdigest()
    index = {"dtype": "uint16", "vocab_size": VOCABULARY, "tokenizer_sha256": tokenizer, "splits": splits}
    (folder / "index.json").write_text(json.dumps(index))


def make_inputs(**model: object) -> None:
    """Everything `publish@base` reads, in the working directory."""
    make_tokenizer(paths.TOKENIZER)
    make_shards()
    make_model(paths.PRETRAINED, **model)  # type: ignore[arg-type]
    shutil.copyfile(ROOT / "LICENSE", "LICENSE")


def make_published_base(name: str) -> Path:
    """What `instruct` reads: a float16 model and its tokenizer, without running `publish`."""
    folder = paths.published(name, "base")
    make_tokenizer(folder)
    make_model(folder, dtype="float16")
    return folder


def write_lines(path: Path, rows: Iterable[object]) -> Path:
    """Write JSON lines; a `bytes` row is written unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`: equal trees are equal bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run_publish(settings: Settings, variant: str = "base") -> Any:
    """Run the stage without MLflow; returns its metrics."""
    return publish(settings, StageRun(f"publish@{variant}"), variant)
