"""A task of the stage: read some raw files to the end, or to where they are damaged, and write what they contain.

Documents and rejections go to `STEM.parquet` and `STEM.rejected.parquet`, in the order of the files and of the records
in them. The result of the task is a `FileOutcome` per file.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from gptoss.config.extensions import READERS, load
from gptoss.config.source import SourceConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.core.progress import progress
from gptoss.formats.records import Document, Reader, Record, Rejection, Skip, clean
from gptoss.ingest.outcome import FileOutcome
from gptoss.sources.compression import HashingStream, decompressed
from gptoss.sources.fetch import RawFileOpener, check_sha256
from gptoss.sources.resolve_urls import RawFile
from gptoss.sources.streams import DamagedError
from gptoss.tables.batches import TableWriter
from gptoss.tables.documents import DOCUMENT, REJECTED, document_id

# Rows collected as Python strings before they become Arrow arrays. The second bound keeps memory constant for books.
MAX_BATCH_ROWS = 1024
MAX_BATCH_CHARACTERS = 8 * 2**20
# A single file above this size takes so long that it shows progress of its own, besides the progress over tasks.
LARGE_FILE_BYTES = 32 * 2**20
# Characters of a rejection's locator and detail that are stored: hostile input can make both as long as the record.
MAX_DETAIL = 500


def documents_path(stem: str) -> Path:
    """The documents of one task."""
    return Path(f"{stem}.parquet")


def rejections_path(stem: str) -> Path:
    """The rejections of one task."""
    return Path(f"{stem}.rejected.parquet")


def read_files(
    files: Sequence[Mapping[str, Any]], stem: str, source: str, source_config: Mapping[str, Any]
) -> dict[str, Any]:
    """Read raw files (as `task_groups.reading_tasks` describes them); returns `{"outcomes": [...]}`, one `FileOutcome`
    per file. Raises `DataError` for a wrong checksum, `ClusterError` and `OSError` when a file cannot be read."""
    config = SourceConfig.model_validate(source_config)
    # Only the reader of this format is imported: imports of the others would delay every task.
    reader: Reader = load(READERS, config.format).read
    outcomes = []
    with (
        RawFileOpener(Path(stem).parent) as opener,
        _row_buffer(documents_path(stem), DOCUMENT) as documents,
        _row_buffer(rejections_path(stem), REJECTED) as rejections,
    ):
        for entry in files:
            archive = entry["archive"] and Path(entry["archive"])
            file = RawFile(entry["url"], entry["location"], entry["sha256"], archive)
            writer = _RecordWriter(source, config, FileOutcome(file.url), documents, rejections)
            outcomes.append(asdict(_read_file(file, opener, reader, config, writer)))
    return {"outcomes": outcomes}


def _read_file(
    file: RawFile, opener: RawFileOpener, reader: Reader, config: SourceConfig, writer: _RecordWriter
) -> FileOutcome:
    outcome = writer.outcome
    if file.archive is not None:
        outcome.archive, outcome.archive_sha256 = file.archive.name, file.archive.parent.name
    with opener.open(file) as raw:
        hashing = HashingStream(raw)
        records = _records(reader, hashing, file.url, config)
        # A member of an archive has no file descriptor.
        if file.archive is None and os.fstat(raw.fileno()).st_size > LARGE_FILE_BYTES:
            records = progress(records, f"read {file.url.rpartition('/')[2]}", unit="records")
        writer.write_all(records)
        outcome.sha256, outcome.bytes = hashing.sha256(), hashing.bytes
    # Only now are all bytes hashed. A wrong checksum fails the stage, so what was written is never used.
    check_sha256(file.url, outcome.sha256, file.sha256)
    outcome.check()
    return outcome


def _records(reader: Reader, raw: HashingStream, url: str, config: SourceConfig) -> Iterator[Record]:
    # A generator, so that `decompressed`, which reads the first bytes, runs inside the `try` of `write_all`: a file
    # may be damaged from its first byte on.
    yield from reader(decompressed(raw), url, config)


class _RecordWriter:
    """Writes the documents and rejections among the records of one raw file and counts all records."""

    def __init__(
        self, source: str, config: SourceConfig, outcome: FileOutcome, documents: _RowBuffer, rejections: _RowBuffer
    ) -> None:
        self.outcome = outcome
        self._source, self._config = source, config
        self._documents, self._rejections = documents, rejections
        self._rejected, self._skipped = Counter[str](), Counter[str]()

    def write_all(self, records: Iterator[Record]) -> None:
        """Write and count all records. Damage ends the file, not the stage."""
        try:
            for record in records:
                self._write(record)
        except DamagedError as error:
            # A row of its own in the rejected table, so that damage is visible there, too.
            self.outcome.damage = str(error)
            self._write(Rejection(f"after {self.outcome.documents} documents", "damaged", self.outcome.damage))
        self.outcome.rejected, self.outcome.skipped = dict(self._rejected), dict(self._skipped)

    def _write(self, record: Record) -> None:
        self.outcome.records += 1
        if isinstance(record, Rejection):
            self._reject(record)
        elif isinstance(record, Skip):
            self._skipped[record.reason] += 1
        # Empty text is not an error: a page may have a picture and no text.
        elif not record.text.strip():
            self._skipped["empty"] += 1
        else:
            self._add(record)

    def _reject(self, rejection: Rejection) -> None:
        locator, detail = rejection.locator[:MAX_DETAIL], rejection.detail[:MAX_DETAIL]
        self.outcome.first_rejection = self.outcome.first_rejection or f"{locator}: {rejection.reason} ({detail})"
        self._rejected[rejection.reason] += 1
        self._rejections.add([clean(v) for v in (self._source, self.outcome.url, locator, rejection.reason, detail)])

    def _add(self, document: Document) -> None:
        # The locator in `meta` makes it possible to trace any text of the corpus to its raw record.
        text, url = clean(document.text), clean(document.url)
        meta = document.meta | {"locator": _full_locator(self.outcome.url, document.locator)}
        self.outcome.documents += 1
        # `isascii` is constant time for a Python string, so most English text is not encoded just to be counted.
        self.outcome.text_bytes += len(text) if text.isascii() else len(text.encode())
        self._documents.add(
            [
                document_id(self._source, url, text),
                text,
                self._source,
                url,
                clean(document.title),
                document.language or self._config.language,
                clean(document.license or self._config.license),
                clean(json.dumps(meta, sort_keys=True, ensure_ascii=False)),
            ]
        )


def _full_locator(url: str, locator: str) -> str:
    """`URL#byte=1234` or `URL#line=7` for the record of a raw file; the URL alone when the file is one record."""
    return f"{url}#{locator.replace(' ', '=', 1)}" if locator else url


class _RowBuffer:
    """Collects rows and writes them to a table in batches of bounded size."""

    def __init__(self, table: TableWriter, schema: pa.Schema) -> None:
        self._table, self._schema = table, schema
        self._rows: list[list[str]] = []
        self._characters = 0

    def add(self, row: list[str]) -> None:
        """Append a row: its values in the order of the schema."""
        self._rows.append(row)
        self._characters += sum(map(len, row))
        if len(self._rows) >= MAX_BATCH_ROWS or self._characters >= MAX_BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            self._table.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows, self._characters = [], 0


@contextmanager
def _row_buffer(path: Path, schema: pa.Schema) -> Iterator[_RowBuffer]:
    """A table that is complete when the block ends and absent when it raises."""
    # Flushed only on success: after an error the file is discarded.
    with atomic_file(path) as partial, TableWriter(partial, schema) as table:
        rows = _RowBuffer(table, schema)
        yield rows
        rows.flush()
