"""What was read from each raw file, kept until the whole source is done: a killed stage continues with the next file.

`NUMBER.parquet` and `NUMBER.rejected.parquet` are written first, `NUMBER.json` last: a file counts as finished when its
JSON is there and speaks of the same file (URL, checksum, size and time of change where it lies on this machine).
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.documents import DOCUMENT, REJECTED, document_id
from stages.ingest.compression import HashingStream, decompressed
from stages.ingest.fetch import RawFiles, check_sha256
from stages.ingest.origins import Origin
from stages.ingest.records import DamagedError, Document, Reader, Record, Rejection, Skip, clean
from stages.progress import progress
from stages.settings import Source
from stages.storage import atomic_file, read_json, write_json

MAX_BATCH_ROWS = 1024
MAX_BATCH_CHARACTERS = 16 * 2**20
LARGE_FILE = 32 * 2**20
"""Bytes from which the reading of a single file shows progress of its own."""


@dataclass
class Outcome:
    """One raw file: what came of it. `damage` says why the rest could not be read, empty when all was."""

    url: str
    identity: list[Any]
    archive: str = ""
    archive_sha256: str = ""
    sha256: str = ""
    bytes: int = 0
    documents: int = 0
    rejected: int = 0
    first_rejection: str = ""
    damage: str = ""
    skipped: dict[str, int] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """The entry of `files.json`."""
        archive = {"archive": self.archive, "archive_sha256": self.archive_sha256} if self.archive else {}
        return archive | {
            "url": self.url,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "documents": self.documents,
            "rejected": self.rejected,
            "status": "damaged" if self.damage else "ok",
            "detail": self.damage,
        }


def documents_path(folder: Path, number: int) -> Path:
    """The documents of raw file `number`."""
    return folder / f"{number:06d}.parquet"


def rejections_path(folder: Path, number: int) -> Path:
    """The rejections of raw file `number`."""
    return folder / f"{number:06d}.rejected.parquet"


def _outcome_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _identity(origin: Origin) -> list[Any]:
    """What makes a raw file another one. Of a remote file only the URL is known without reading it."""
    where: list[Any] = [origin.url, origin.sha256]
    if origin.archive is not None:
        return [*where, str(origin.archive)]
    if origin.is_remote:
        return where
    status = Path(origin.location).stat()
    return [*where, status.st_size, status.st_mtime_ns]


def finished(folder: Path, number: int, origin: Origin) -> Outcome | None:
    """What an earlier attempt made of this file, if it finished with it and the file is still the same."""
    path = _outcome_path(folder, number)
    if not path.exists():
        return None
    outcome = Outcome(**read_json(path))
    return outcome if outcome.identity == _identity(origin) else None


def read_file(folder: Path, number: int, origin: Origin, raw_files: RawFiles, name: str, source: Source) -> Outcome:
    """Read one raw file to the end or to where it is damaged. Raises `DataError` for a wrong checksum, `ClusterError`
    and `OSError` when it cannot be opened."""
    outcome = Outcome(origin.url, _identity(origin))
    if origin.archive is not None:
        outcome.archive, outcome.archive_sha256 = origin.archive.name, origin.archive.parent.name
    reader: Reader = import_module(f"stages.ingest.{source.format}").read
    with raw_files.open(origin) as raw:
        hashing = HashingStream(raw)
        records: Iterator[Record] = reader(decompressed(hashing), origin.url, source)
        if origin.archive is None and os.fstat(raw.fileno()).st_size > LARGE_FILE:
            records = progress(records, f"read {origin.url.rpartition('/')[2]}", unit="records")
        _keep(folder, number, records, outcome, name, source)
        outcome.sha256, outcome.bytes = hashing.sha256(), hashing.bytes
    check_sha256(origin.url, outcome.sha256, origin.sha256)
    write_json(_outcome_path(folder, number), asdict(outcome))
    return outcome


def _keep(folder: Path, number: int, records: Iterator[Record], outcome: Outcome, name: str, source: Source) -> None:
    """Write the documents and rejections among the records, count the rest; damage ends the file, not the stage."""
    skipped = Counter[str]()
    with (
        _Table(documents_path(folder, number), DOCUMENT) as documents,
        _Table(rejections_path(folder, number), REJECTED) as rejections,
    ):

        def reject(locator: str, reason: str, detail: str) -> None:
            outcome.first_rejection = outcome.first_rejection or f"{locator}: {reason} ({detail})"
            row = {"source": name, "origin": outcome.url, "locator": locator, "reason": reason, "detail": detail}
            rejections.add({key: clean(value) for key, value in row.items()})

        try:
            for record in records:
                if isinstance(record, Rejection):
                    reject(record.locator, record.reason, record.detail)
                elif isinstance(record, Skip):
                    skipped[record.reason] += 1
                elif not record.text.strip():
                    skipped["empty"] += 1
                else:
                    documents.add(_row(record, name, source))
        except DamagedError as error:
            outcome.damage = str(error)
            reject(f"after {documents.rows} documents", "damaged", outcome.damage)
    outcome.documents, outcome.rejected = documents.rows, rejections.rows
    outcome.skipped = dict(sorted(skipped.items()))


def _row(document: Document, name: str, source: Source) -> dict[str, str]:
    text, url = clean(document.text), clean(document.url)
    return {
        "id": document_id(name, url, text),
        "text": text,
        "source": name,
        "url": url,
        "title": clean(document.title),
        "language": document.language or source.language,
        "license": clean(document.license or source.license),
        "meta": clean(json.dumps(document.meta, sort_keys=True, ensure_ascii=False)),
    }


class _Table:
    """A Parquet file written in batches of bounded size; whole when the block ends, absent when it raises."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._path, self._schema = path, schema
        self._batch: list[dict[str, str]] = []
        self._characters = 0

    def __enter__(self) -> _Table:
        self._file = atomic_file(self._path)
        self._writer = pq.ParquetWriter(self._file.__enter__(), self._schema, compression="zstd")
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            if raised[0] is None:
                self._flush()
            self._writer.close()
        except BaseException:
            self._file.__exit__(*sys.exc_info())
            raise
        self._file.__exit__(*raised)

    def add(self, row: dict[str, str]) -> None:
        """Append a row."""
        self.rows += 1
        self._batch.append(row)
        self._characters += sum(map(len, row.values()))
        if len(self._batch) >= MAX_BATCH_ROWS or self._characters >= MAX_BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            self._writer.write_table(pa.Table.from_pylist(self._batch, schema=self._schema))
        self._batch, self._characters = [], 0
