"""The curate stage on small document tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import paths
from stages.curate.redact import EMAIL
from stages.documents import DOCUMENT, REMOVED, document_id, read_table, write_documents, write_table
from stages.errors import DataError
from stages.settings import Settings
from stages.tracking import StageRun
from tests.curate.test_language import BULGARIAN, GERMAN
from tests.curate.test_quality import PROSE

curate = import_module("stages.curate.__main__").curate


def document(text: str, number: int = 0) -> dict[str, str]:
    url = f"page-{number}"
    return {
        "id": document_id("wikipedia", url, text), "text": text, "source": "wikipedia", "url": url, "title": url,
        "language": "en", "license": "CC0", "meta": "{}",
    }  # fmt: skip


def given(texts: list[str]) -> list[dict[str, str]]:
    rows = [document(text, number) for number, text in enumerate(texts)]
    folder = paths.documents("wikipedia")
    folder.mkdir(parents=True)
    write_documents(folder, rows)
    return rows


def run(settings: Settings) -> dict[str, object]:
    return dict(curate(settings, StageRun("curate@wikipedia"), "wikipedia"))


def removed() -> list[dict[str, object]]:
    table = pq.read_table(paths.curated("wikipedia") / "removed.parquet")
    assert table.schema.equals(REMOVED)
    return list(table.to_pylist())


def test_every_document_is_kept_or_removed_whole_with_its_reason(workspace: Path, settings: Settings) -> None:
    rows = given([PROSE, BULGARIAN * 5, "short text", f"{PROSE} Write to joe@acme.org.", GERMAN * 5])
    metrics = run(settings)
    kept = read_table(paths.curated("wikipedia"))
    assert kept.schema.equals(DOCUMENT)
    assert kept["id"].to_pylist() == [rows[0]["id"], rows[3]["id"]]
    assert kept["text"].to_pylist() == [PROSE, f"{PROSE} Write to {EMAIL}."]
    gone = removed()
    assert [(row["id"], row["reason"]) for row in gone] == [
        (rows[1]["id"], "language"), (rows[2]["id"], "min_words"), (rows[4]["id"], "language"),
    ]  # fmt: skip
    assert [row["text"] for row in gone] == [rows[1]["text"], rows[2]["text"], rows[4]["text"]]
    assert [row["detail"] for row in gone] == ["bg != en", "words 2 < 50", "de != en"]
    assert [row["language"] for row in gone if row["reason"] == "language"] == ["bg", "de"]
    assert metrics["documents_in"] == 5
    assert metrics["documents_kept"] == 2
    assert metrics["bytes_in"] == sum(len(row["text"].encode()) for row in rows)
    assert metrics["removed"] == {"language": 2, "min_words": 1}
    assert metrics["redacted"] == {"email": 1, "ip": 0}


def test_removed_documents_are_redacted_too(workspace: Path, settings: Settings) -> None:
    given(["mail joe@acme.org"])
    run(settings)
    assert removed()[0]["text"] == f"mail {EMAIL}"


@pytest.mark.parametrize("texts", [[], ["short"]])
def test_nothing_in_or_nothing_left_is_an_empty_table(workspace: Path, settings: Settings, texts: list[str]) -> None:
    given(texts)
    metrics = run(settings)
    assert metrics["documents_kept"] == 0
    assert read_table(paths.curated("wikipedia")).num_rows == 0
    assert len(removed()) == len(texts)


def test_two_runs_give_the_same_bytes_however_the_input_is_cut(workspace: Path, settings: Settings) -> None:
    texts = [f"{PROSE} Number {number}." for number in range(150)] + ["short"] * 20
    rows = given(texts)
    run(settings)
    first = _hashes(paths.curated("wikipedia"))
    folder = paths.documents("wikipedia")
    for part in (0, 1):  # the same rows in two files
        half = rows[part * 77 : (part + 1) * 77 if part == 0 else None]
        write_table(folder / f"documents-{part:05d}.parquet", pa.Table.from_pylist(half, schema=DOCUMENT))
    run(settings)
    assert _hashes(paths.curated("wikipedia")) == first


def test_a_stage_that_dies_leaves_the_former_output(
    workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given([PROSE])
    run(settings)
    before = _hashes(paths.curated("wikipedia"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.curate.__main__.judge_batch", die)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    assert _hashes(paths.curated("wikipedia")) == before
    assert [path.name for path in Path("data/curated").iterdir()] == ["wikipedia"]


def test_a_missing_input_is_a_clear_error(workspace: Path, settings: Settings) -> None:
    with pytest.raises(DataError, match="holds no documents"):
        run(settings)


def test_real_books_and_articles_survive(workspace: Path, shared: Path, settings_with: Callable[..., Settings]) -> None:
    books = sorted((shared / "corpora" / "gutenberg").glob("*.txt"))[:2]
    given([book.read_text(encoding="utf-8-sig", errors="replace")[2_000:200_000] for book in books])
    metrics = run(settings_with())
    assert metrics["documents_kept"] == len(books)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
