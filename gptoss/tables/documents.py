"""The document tables that data stages pass to each other: Parquet, zstd, joined by `id` and never by row number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# One document. `id` is `document_id(...)`; `meta` is a JSON object.
DOCUMENT = pa.schema(
    [
        ("id", pa.string()),
        # large_string: 64-bit offsets, as a batch of long documents can hold more than 2 GiB of text.
        ("text", pa.large_string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("title", pa.string()),
        ("language", pa.string()),
        ("license", pa.string()),
        # A JSON string and not a struct: keys differ between sources, and all sources share one schema.
        ("meta", pa.string()),
    ]
)

# A removed document with its whole content: the rule that removed it, the value that triggered the rule and, for a
# duplicate, the `id` of the kept document that it matches and their measured Jaccard similarity.
REMOVED = pa.schema(
    [
        *DOCUMENT,
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("duplicate_of", pa.string()),
        ("jaccard", pa.float32()),
    ]
)

# A raw record that could not become a document: its file, its location in the file, and the reason.
REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("origin", pa.string()),
        ("locator", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

# Rows per row group: large enough for zstd to find repetition, small enough to decode one group in bounded memory.
ROWS_PER_GROUP = 16_384


def document_id(source: str, url: str, text: str) -> str:
    """128-bit BLAKE2b of source, URL and text, in hexadecimal.

    Source and URL are part of it so that the same text from two places has two ids, and a duplicate can name the
    document that it duplicates.
    """
    digest = hashlib.blake2b(digest_size=16)
    for field in (source, url, text):
        digest.update(field.encode("utf-8"))
        # A separator, so that ("ab", "c") and ("a", "bc") have different ids.
        digest.update(b"\0")
    return digest.hexdigest()


def text_bytes(documents: pa.RecordBatch) -> int:
    """UTF-8 bytes of the texts of documents."""
    return pc.sum(pc.binary_length(documents.column("text"))).as_py() or 0


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file (zstd). Equal tables give equal bytes."""
    pq.write_table(table, path, compression="zstd", row_group_size=ROWS_PER_GROUP)


def document_files(folder: Path) -> list[Path]:
    """The `documents-*.parquet` files of a folder, in order."""
    return sorted(Path(folder).glob("documents-*.parquet"))


def removed_files(folder: Path) -> list[Path]:
    """The `removed-*.parquet` files of a folder, in order."""
    return sorted(Path(folder).glob("removed-*.parquet"))


def read_batches(folder: Path, columns: Sequence[str] | None = None, *, rows: int = 4_096) -> Iterator[pa.RecordBatch]:
    """Stream the documents of a folder in record batches of at most `rows` rows."""
    for path in document_files(folder):
        yield from pq.ParquetFile(path).iter_batches(batch_size=rows, columns=list(columns) if columns else None)


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All documents of a folder in memory; for work that is known to fit on one machine."""
    # Files written by tasks that found nothing have no rows, but the schema.
    tables = [pq.read_table(path, columns=list(columns) if columns else None) for path in document_files(folder)]
    return pa.concat_tables(tables)
