"""The document tables that the data stages hand to each other: Parquet, zstd, joined by `id`, never by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DOCUMENT = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("title", pa.string()),
        ("language", pa.string()),
        ("license", pa.string()),
        ("meta", pa.string()),
    ]
)
"""One document. `id` is `document_id(...)`; `meta` is a JSON object."""

REMOVED = pa.schema(
    [
        *DOCUMENT,
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("duplicate_of", pa.string()),
        ("jaccard", pa.float32()),
    ]
)
"""A removed document, whole: the rule that removed it, the value that tripped the rule and, for a
duplicate, the `id` of the kept document it matches and their measured Jaccard similarity."""

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("origin", pa.string()),
        ("locator", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""A raw record that could not become a document: which file, where in it, and why."""


def document_id(source: str, url: str, text: str) -> str:
    """128-bit BLAKE2b of source, url and text, hex: the same text from two places has two ids, so that
    a duplicate can name the document it duplicates."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (source, url, text):
        digest.update(part.encode("utf-8"))
        digest.update(b"\0")
    return digest.hexdigest()


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file (zstd). Equal tables give equal bytes."""
    pq.write_table(table, path, compression="zstd", row_group_size=16_384)


def write_documents(
    folder: Path, rows: Iterable[dict[str, Any]], *, schema: pa.Schema = DOCUMENT, rows_per_file: int = 50_000
) -> int:
    """Stream rows into `folder/documents-00000.parquet` …; returns how many. At least one (maybe empty) file."""
    count = 0
    batch: list[dict[str, Any]] = []
    number = 0
    for row in rows:
        batch.append(row)
        count += 1
        if len(batch) == rows_per_file:
            write_table(folder / f"documents-{number:05d}.parquet", pa.Table.from_pylist(batch, schema=schema))
            number += 1
            batch = []
    if batch or number == 0:
        write_table(folder / f"documents-{number:05d}.parquet", pa.Table.from_pylist(batch, schema=schema))
    return count


def document_files(folder: Path) -> list[Path]:
    """The `documents-*.parquet` files of a folder, in order."""
    return sorted(Path(folder).glob("documents-*.parquet"))


def removed_files(folder: Path) -> list[Path]:
    """The `removed-*.parquet` files of a folder, in order."""
    return sorted(Path(folder).glob("removed-*.parquet"))


def read_batches(folder: Path, columns: Sequence[str] | None = None, *, rows: int = 4_096) -> Iterator[pa.RecordBatch]:
    """Stream the documents of a folder as record batches of at most `rows` rows."""
    for path in document_files(folder):
        yield from pq.ParquetFile(path).iter_batches(batch_size=rows, columns=list(columns) if columns else None)


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All documents of a folder in memory; for stages whose work is bounded by what one machine holds."""
    tables = [pq.read_table(path, columns=list(columns) if columns else None) for path in document_files(folder)]
    return pa.concat_tables(tables)
