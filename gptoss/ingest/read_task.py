"""A task of the stage: read some raw files to the end, or to where they are damaged, and keep what they give.

Documents and rejections go to `STEM.parquet` and `STEM.rejected.parquet`, in the order of the files and of the records
in them; what came of each file is the task's result. Of each file the records that its reader saw are documents, or
rejected, or skipped, each once: `Outcome.check` holds the sums against each other.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from gptoss.config.extensions import READERS, load
from gptoss.config.source import SourceConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.core.progress import progress
from gptoss.formats.records import Document, Reader, Record, Rejection, Skip, clean
from gptoss.sources.compression import HashingStream, decompressed
from gptoss.sources.fetch import RawFiles, check_sha256
from gptoss.sources.resolve_urls import Origin
from gptoss.sources.streams import DamagedError
from gptoss.tables.batches import TableFiles, table_writer
from gptoss.tables.documents import DOCUMENT, REJECTED, document_id

MAX_BATCH_ROWS = 1024
MAX_BATCH_CHARACTERS = 8 * 2**20
LARGE_FILE = 32 * 2**20
"""Bytes from which the reading of a single file shows progress of its own."""
MAX_DETAIL = 500
"""Characters of a rejection's detail that are kept."""


@dataclass
class Outcome:
    """One raw file: what came of it. `damage` says why the rest could not be read, empty when all was; it counts as
    one rejected record."""

    url: str
    archive: str = ""
    archive_sha256: str = ""
    sha256: str = ""
    bytes: int = 0
    records: int = 0
    documents: int = 0
    text_bytes: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first_rejection: str = ""
    damage: str = ""
    skipped: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raises `RuntimeError` unless every record became exactly one thing: else this code is wrong."""
        rejected, skipped = sum(self.rejected.values()), sum(self.skipped.values())
        if self.records != self.documents + rejected + skipped:
            raise RuntimeError(
                f"{self.url}: {self.records} records, but {self.documents} documents + {rejected} rejected + "
                f"{skipped} skipped"
            )

    def described(self) -> dict[str, Any]:
        """The entry of `files.json`."""
        archive = {"archive": self.archive, "archive_sha256": self.archive_sha256} if self.archive else {}
        return archive | {
            "url": self.url,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "records": self.records,
            "documents": self.documents,
            "rejected": sum(self.rejected.values()),
            "skipped": sum(self.skipped.values()),
            "status": "damaged" if self.damage else "ok",
            "detail": self.damage,
        }


def documents_path(stem: str) -> Path:
    """The documents of one task."""
    return Path(f"{stem}.parquet")


def rejections_path(stem: str) -> Path:
    """The rejections of one task."""
    return Path(f"{stem}.rejected.parquet")


def read_files(files: Sequence[Mapping[str, Any]], stem: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read raw files (as `plan.reading_tasks` describes them) of source `name`; returns `{"outcomes": [...]}`, one
    `Outcome` a file. Raises `DataError` for a wrong checksum, `ClusterError` and `OSError` when one cannot be read."""
    source = SourceConfig.model_validate(settings)
    reader: Reader = load(READERS, source.format).read
    outcomes = []
    with (
        RawFiles(Path(stem).parent) as raw_files,
        _rows(documents_path(stem), DOCUMENT) as documents,
        _rows(rejections_path(stem), REJECTED) as rejections,
    ):
        for file in files:
            archive = None if file["archive"] is None else Path(file["archive"])
            origin = Origin(file["url"], file["location"], file["sha256"], archive)
            keeper = _Keeper(name, source, Outcome(origin.url), documents, rejections)
            outcomes.append(asdict(_read_file(origin, raw_files, reader, source, keeper)))
    return {"outcomes": outcomes}


def _read_file(origin: Origin, raw_files: RawFiles, reader: Reader, source: SourceConfig, keeper: _Keeper) -> Outcome:
    outcome = keeper.outcome
    if origin.archive is not None:
        outcome.archive, outcome.archive_sha256 = origin.archive.name, origin.archive.parent.name
    with raw_files.open(origin) as raw:
        hashing = HashingStream(raw)
        records = _records(reader, hashing, origin.url, source)
        if origin.archive is None and os.fstat(raw.fileno()).st_size > LARGE_FILE:
            records = progress(records, f"read {origin.url.rpartition('/')[2]}", unit="records")
        keeper.keep_all(records)
        outcome.sha256, outcome.bytes = hashing.sha256(), hashing.bytes
    check_sha256(origin.url, outcome.sha256, origin.sha256)
    outcome.check()
    return outcome


def _records(reader: Reader, raw: HashingStream, url: str, source: SourceConfig) -> Iterator[Record]:
    """What the reader says; damage at the very first byte is met where all damage is."""
    yield from reader(decompressed(raw), url, source)


class _Keeper:
    """Writes the documents and rejections among the records of one raw file and counts all of them."""

    def __init__(self, name: str, source: SourceConfig, outcome: Outcome, documents: _Rows, rejections: _Rows) -> None:
        self.outcome = outcome
        self._name, self._source = name, source
        self._documents, self._rejections = documents, rejections
        self._rejected, self._skipped = Counter[str](), Counter[str]()

    def keep_all(self, records: Iterator[Record]) -> None:
        """Damage ends the file, not the stage."""
        try:
            for record in records:
                self._keep(record)
        except DamagedError as error:
            self.outcome.damage = str(error)
            self._keep(Rejection(f"after {self.outcome.documents} documents", "damaged", self.outcome.damage))
        self.outcome.rejected, self.outcome.skipped = dict(self._rejected), dict(self._skipped)

    def _keep(self, record: Record) -> None:
        self.outcome.records += 1
        if isinstance(record, Rejection):
            self._reject(record)
        elif isinstance(record, Skip):
            self._skipped[record.reason] += 1
        elif not record.text.strip():
            self._skipped["empty"] += 1
        else:
            self._add(record)

    def _reject(self, rejection: Rejection) -> None:
        locator, detail = rejection.locator[:MAX_DETAIL], rejection.detail[:MAX_DETAIL]
        self.outcome.first_rejection = self.outcome.first_rejection or f"{locator}: {rejection.reason} ({detail})"
        self._rejected[rejection.reason] += 1
        self._rejections.add([clean(v) for v in (self._name, self.outcome.url, locator, rejection.reason, detail)])

    def _add(self, document: Document) -> None:
        text, url = clean(document.text), clean(document.url)
        meta = document.meta | {"locator": _located(self.outcome.url, document.locator)}
        self.outcome.documents += 1
        self.outcome.text_bytes += len(text) if text.isascii() else len(text.encode())
        self._documents.add(
            [
                document_id(self._name, url, text),
                text,
                self._name,
                url,
                clean(document.title),
                document.language or self._source.language,
                clean(document.license or self._source.license),
                clean(json.dumps(meta, sort_keys=True, ensure_ascii=False)),
            ]
        )


def _located(file: str, locator: str) -> str:
    """Where a raw record is: `FILE#byte=1234`, `FILE#line=7`; the file alone where it holds one record."""
    return f"{file}#{locator.replace(' ', '=', 1)}" if locator else file


class _Rows:
    """Rows to a Parquet file, in batches of bounded size."""

    def __init__(self, table: TableFiles, schema: pa.Schema) -> None:
        self._table, self._schema = table, schema
        self._batch: list[list[str]] = []
        self._characters = 0

    def add(self, row: list[str]) -> None:
        """Append a row: its values in the order of the schema."""
        self._batch.append(row)
        self._characters += sum(map(len, row))
        if len(self._batch) >= MAX_BATCH_ROWS or self._characters >= MAX_BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Hand over what was added."""
        if self._batch:
            columns = zip(*self._batch, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            self._table.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._batch, self._characters = [], 0


@contextmanager
def _rows(path: Path, schema: pa.Schema) -> Iterator[_Rows]:
    """A table that is whole when the block ends and absent when it raises."""
    with atomic_file(path) as partial, table_writer(partial, schema) as table:
        rows = _Rows(table, schema)
        yield rows
        rows.flush()
