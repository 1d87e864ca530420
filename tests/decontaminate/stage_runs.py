"""Documents with planted benchmark items, and the decontaminate stage on them."""

from __future__ import annotations

import hashlib
import random
import shutil
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.tables.documents import DOCUMENT, REMOVED, document_id, read_table, removed_files
from gptoss.tracking.mlflow_run import StageRun
from stages.decontaminate import decontaminate
from tests.documents import write_documents

LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
SHORT = "Who wrote the play in which Ophelia drowns?"
TINY = "What is two plus two?"
ITEMS = [("smoke", "gsm8k", "0", LONG), ("smoke", "mmlu", "7", SHORT), ("gpt4", "mmlu", "3", TINY)]


def filler(rng: random.Random, words: int = 120) -> str:
    """Sentences of random words."""
    sentences = []
    while words > 0:
        sentences.append(" ".join(f"w{rng.randrange(9_999)}" for _ in range(12)).capitalize() + ".")
        words -= 12
    return " ".join(sentences)


def document(text: str, number: int = 0, meta: str | None = "{}") -> dict[str, Any]:
    """A row of a document table."""
    return {
        "id": document_id("web", str(number), text), "text": text, "source": "web", "url": str(number), "title": "",
        "language": "en", "license": "CC0", "meta": meta,
    }  # fmt: skip


def write_inputs(
    texts: list[str],
    items: list[tuple[str, str, str, str]] = ITEMS,
    meta: str | None = "{}",
    rows_per_file: int = 7,
) -> list[str]:
    """Write documents and items; returns the documents' ids."""
    shutil.rmtree(paths.DEDUPED, ignore_errors=True)
    paths.DEDUPED.mkdir(parents=True, exist_ok=True)
    paths.BENCHMARKS.mkdir(parents=True, exist_ok=True)
    rows = [document(text, number, meta) for number, text in enumerate(texts)]
    write_documents(paths.DEDUPED, rows, rows_per_file=rows_per_file)
    columns = dict(
        zip(("suite", "task", "item", "text"), zip(*items, strict=True) if items else ([],) * 4, strict=True)
    )
    schema = pa.schema([(name, pa.string()) for name in columns])
    pq.write_table(
        pa.table({k: list(v) for k, v in columns.items()}, schema=schema), paths.BENCHMARKS / "texts.parquet"
    )
    return [row["id"] for row in rows]


def run_stage(settings: Settings) -> dict[str, Any]:
    """Run the stage and remove its resume state, as `gptoss.tracking.runner.run_stage` does."""
    stage = StageRun("decontaminate")
    metrics = dict(decontaminate(settings, stage))
    shutil.rmtree(stage.state)
    return metrics


def kept_documents() -> list[dict[str, Any]]:
    """The documents in the output."""
    table = read_table(paths.CLEAN)
    assert table.schema.equals(DOCUMENT)
    return list(table.to_pylist())


def removed_documents() -> list[dict[str, Any]]:
    """The removed documents in the output."""
    table = pa.concat_tables(pq.read_table(path) for path in removed_files(paths.CLEAN))
    assert table.schema.equals(REMOVED)
    return list(table.to_pylist())


def found_items() -> list[dict[str, Any]]:
    """The items in `contamination.json`."""
    return list(read_json(paths.CLEAN / "contamination.json")["items"])


def hashes() -> dict[str, str]:
    """SHA-256 of every file of the output."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths.CLEAN.iterdir())}
