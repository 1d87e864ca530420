"""A published folder with a random Llama, token shards and frozen items, all made in-process."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.core import paths
from gptoss.tracking.mlflow_run import StageRun
from stages.benchmarks import benchmarks
from tests.conftest import ROOT
from tests.eval_items.checkout import link_evals
from tests.toy_model import byte_bpe, random_llama

CONTEXT = 128
VOCABULARY = 400
SPECIAL = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SENTENCE = "The baker sold twelve loaves in the morning — and nine in the évening. "
DOCUMENTS = {
    "train": [SENTENCE * 20, "Ten birds sat on a roof. " * 30],
    "validation": [SENTENCE * 16, "Short.", "", "日本 and bread, " + SENTENCE * 3],
}


def make_tokenizer() -> Any:
    """A byte-level BPE of 400 tokens with ChatML, as the tokenizer stage makes it."""
    from transformers import PreTrainedTokenizerFast

    texts = [text for texts in DOCUMENTS.values() for text in texts]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_bpe(texts, VOCABULARY, SPECIAL),
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[1],
        model_max_length=CONTEXT,
    )
    fast.chat_template = CHAT
    return fast


def make_network(change: Callable[[Any], None] | None = None) -> Any:
    """A random float16 Llama of 60 thousand parameters."""
    import torch

    network = random_llama(VOCABULARY, CONTEXT, seed=7, initializer_range=0.3).half()
    if change:
        with torch.no_grad():
            change(network)
    return network


def publish(variant: str = "base", change: Callable[[Any], None] | None = None) -> Path:
    """`gpt-oss/tiny[-VARIANT]` in the working directory."""
    folder = paths.published("tiny", variant)
    make_network(change).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def write_shards() -> None:
    """`data/shards` with several documents per split: long, short, empty, not ASCII."""
    tokenizer = make_tokenizer()
    paths.SHARDS.mkdir(parents=True)
    splits = {}
    for name, texts in DOCUMENTS.items():
        ids = [[0, *tokenizer.encode(text)] for text in texts]
        tokens = np.concatenate([np.array(document, dtype="<u2") for document in ids])
        tokens.tofile(paths.SHARDS / f"{name}-00000.bin")
        offsets = np.cumsum([0, *map(len, ids)])[:-1]
        pq.write_table(pa.table({"offset": pa.array(offsets, pa.int64())}), paths.SHARDS / f"documents-{name}.parquet")
        splits[name] = {
            "shards": [{"file": f"{name}-00000.bin", "tokens": len(tokens), "sha256": ""}],
            "tokens": len(tokens),
            "documents": len(texts),
            "bytes": sum(len(text.encode()) for text in texts),
            "sources": {"web": {"start": 0, "tokens": len(tokens)}},
        }
    index = {"dtype": "uint16", "vocab_size": VOCABULARY, "tokenizer_sha256": "", "splits": splits}
    (paths.SHARDS / "index.json").write_text(json.dumps(index))


def write_mirror(folder: Path) -> Path:
    """The project's own items as hub repositories: three subjects' worth of MMLU, HellaSwag and HumanEval."""
    from gptoss.eval_items.suites import load_suite

    own = ROOT / "evals" / "smoke"

    def copy(name: str, place: str) -> None:
        path = folder / f"{place}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((own / f"{name}.jsonl").read_bytes())

    for subject in load_suite("gpt4").tasks["mmlu"].subsets:
        copy("mmlu", f"cais/mmlu/{subject}/test")
        copy("mmlu.fewshot", f"cais/mmlu/{subject}/dev")
    copy("hellaswag", "Rowan/hellaswag/default/validation")
    copy("humaneval", "openai/openai_humaneval/openai_humaneval/test")
    return folder


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A working directory with what the checkout holds and `evaluate` reads."""
    link_checkout(workspace)
    return workspace


def link_checkout(folder: Path) -> None:
    if not (folder / "infra").exists():
        (folder / "infra").symlink_to(ROOT / "infra")
    link_evals(folder)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything `evaluate` depends on, made once."""
    folder = tmp_path_factory.mktemp("inputs")
    link_checkout(folder)
    with contextlib.chdir(folder):
        publish()
        publish("instruct")
        write_shards()
        values = load_yaml(ROOT / "profiles" / "tiny.yaml")
        values["benchmarks"] = {"gpt4": "mirror", "mirror": str(write_mirror(folder / "mirror"))}
        benchmarks(check(Settings, values, origin="test"), StageRun("benchmarks"))
    return folder


@pytest.fixture
def evaluated(inputs: Path, checkout: Path, settings_with: Callable[..., Settings]) -> Settings:
    """A copy of `inputs` in the working directory, and settings for it."""
    for name in ("data", "gpt-oss"):
        shutil.copytree(inputs / name, checkout / name)
    return settings_with(
        **{
            "model.context": CONTEXT,
            "instruct.max_length": CONTEXT,
            "evaluate.limit": 5,
            "evaluate.max_new_tokens": 16,
        }
    )
