"""Corpora with planted duplicates, and the dedup stage on them."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.tables.documents import REMOVED, document_id, read_table, removed_files
from gptoss.tracking.mlflow_run import StageRun
from stages.dedup import dedup
from tests.documents import write_documents

SOURCES = ("alpha", "beta")
Row = dict[str, str]


@pytest.fixture
def lenient(settings_with: Callable[..., Settings]) -> Settings:
    """Two sources, without a limit on what is removed."""
    source = {"format": "gutenberg", "urls": ["x"], "license": "CC0", "language": "en"}
    return settings_with(**{"sources": dict.fromkeys(SOURCES, source), "dedup.max_removed_fraction": 1.0})


def document(text: str, source: str = "alpha", url: str = "") -> Row:
    """A row of a document table."""
    url = url or f"{source}/{hashlib.md5(text.encode()).hexdigest()[:6]}"
    return {
        "id": document_id(source, url, text), "text": text, "source": source, "url": url, "title": "", "language": "en",
        "license": "CC0", "meta": "{}",
    }  # fmt: skip


def write_curated(rows: list[Row]) -> None:
    """Write the input of the stage, in files of 13 documents."""
    shutil.rmtree("data/curated", ignore_errors=True)
    for source in SOURCES:
        folder = paths.curated(source)
        folder.mkdir(parents=True)
        write_documents(folder, (row for row in rows if row["source"] == source), rows_per_file=13)


def run_stage(settings: Settings) -> dict[str, Any]:
    """Run the stage and remove its resume state, as `gptoss.tracking.runner.run_stage` does."""
    stage = StageRun("dedup")
    metrics = dict(dedup(settings, stage))
    shutil.rmtree(stage.state)
    return metrics


def kept_documents() -> list[Row]:
    """The documents in the output."""
    return list(read_table(paths.DEDUPED).to_pylist())


def removed_documents() -> list[dict[str, Any]]:
    """The removed documents in the output."""
    table = pa.concat_tables([pq.read_table(path) for path in removed_files(paths.DEDUPED)])
    assert table.schema.equals(REMOVED)
    return list(table.to_pylist())


def essay(rng: random.Random, words: int = 300) -> list[str]:
    """Random words."""
    return [f"w{rng.randrange(50_000)}" for _ in range(words)]


def edited(words: list[str], edits: int, rng: random.Random) -> list[str]:
    """Replace `edits` words at equal distances; each edit changes five shingles."""
    changed = list(words)
    for number in range(edits):
        changed[(number * len(words)) // edits + 2] = f"e{rng.randrange(10**9)}"
    return changed


def brute_force_jaccard(left: str, right: str, size: int = 5) -> float:
    """Jaccard similarity of the sets of word n-grams."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} or {tuple(words)}

    return len(grams(left) & grams(right)) / len(grams(left) | grams(right))


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
