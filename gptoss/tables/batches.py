"""Stream document tables through a stage: record batches and row groups bounded in bytes, Parquet files in rows.

Memory stays the same whether documents are tweets or novels, and every cut is a function of the input files, so
equal input gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import DataError
from gptoss.tables.documents import DOCUMENT, REMOVED, document_files

BATCH_BYTES = 2 * 2**20
"""Arrays of this many words stay near the processor's cache: larger batches were measured slower."""
ROWS_PER_READ = 64
ROWS_PER_FILE = 50_000
ROWS_PER_GROUP = 16_384
REPETITIVE = ("source", "language", "license", "reason")
"""Columns worth a dictionary; building one for texts costs a third of the time to write them."""
BYTES_PER_GROUP = 64 * 2**20


def bounded_batches(
    folder: Path, columns: Sequence[str] | None = None, *, max_bytes: int = BATCH_BYTES
) -> Iterator[pa.RecordBatch]:
    """The documents of `folder`, in order, as batches of about `max_bytes` (never less than one document).
    Raises `DataError` when the folder holds no document table."""
    for path in parts(folder):
        yield from part_batches(path, columns, max_bytes=max_bytes)


def parts(folder: Path) -> list[Path]:
    """The document tables of `folder`, in order: each is the work of one task. Raises `DataError` without any."""
    found = document_files(folder)
    if not found:
        raise DataError(f"{folder} holds no documents-*.parquet", "run `dvc repro`, which makes it")
    return found


def part_batches(
    path: Path, columns: Sequence[str] | None = None, *, max_bytes: int = BATCH_BYTES
) -> Iterator[pa.RecordBatch]:
    """The documents of one table, in order, as batches of about `max_bytes` (never less than one document)."""
    pending: list[pa.RecordBatch] = []
    size = 0
    table = pq.ParquetFile(path)
    wanted = list(columns) if columns else None
    # Arrow's own threads would stand in the way of those of the other tasks, and hand over every read.
    for batch in table.iter_batches(batch_size=ROWS_PER_READ, columns=wanted, use_threads=False):
        pending.append(batch)
        size += batch.nbytes
        if size >= max_bytes:
            yield _joined(pending)
            pending, size = [], 0
    if pending:
        yield _joined(pending)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]


class TableFiles:
    """Write record batches to the files `name(0)`, `name(1)` …, each of at most `rows_per_file` rows; at least
    one, perhaps empty, file."""

    def __init__(self, name: Callable[[int], Path], schema: pa.Schema, rows_per_file: int = ROWS_PER_FILE) -> None:
        self._name = name
        self._schema = schema
        self._rows_per_file = rows_per_file
        self._rows_per_group = min(ROWS_PER_GROUP, rows_per_file)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = self._file_rows = self._files = 0
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> TableFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._pending_rows or self._files == 0):
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Append rows; the columns are put in the order of the schema."""
        if batch.num_rows == 0:
            return
        for piece in (
            pa.Table.from_batches([batch] if isinstance(batch, pa.RecordBatch) else batch.to_batches())
            .select(self._schema.names)
            .cast(self._schema)
            .to_batches()
        ):
            self._append(piece)

    def _append(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            room = min(self._rows_per_group - self._pending_rows, self._rows_per_file - self._file_rows)
            head = batch.slice(0, room)
            self._pending.append(head)
            self._pending_rows += head.num_rows
            self._pending_bytes += head.nbytes
            self._file_rows += head.num_rows
            self.rows += head.num_rows
            batch = batch.slice(room)
            full_file = self._file_rows == self._rows_per_file
            if full_file or self._pending_rows == self._rows_per_group or self._pending_bytes >= BYTES_PER_GROUP:
                self._flush()
            if full_file and self._writer is not None:
                self._writer.close()
                self._writer, self._file_rows = None, 0

    def _flush(self) -> None:
        if self._writer is None:
            repetitive = [name for name in self._schema.names if name in REPETITIVE]
            self._writer = pq.ParquetWriter(
                self._name(self._files), self._schema, compression="zstd", use_dictionary=repetitive or False
            )
            self._files += 1
        self._writer.write_table(
            pa.Table.from_batches(self._pending, schema=self._schema), row_group_size=ROWS_PER_GROUP
        )
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0


def document_writer(folder: Path) -> TableFiles:
    """`folder/documents-00000.parquet` … with the schema of documents."""
    return TableFiles(lambda number: folder / f"documents-{number:05d}.parquet", DOCUMENT)


def table_writer(path: Path, schema: pa.Schema) -> TableFiles:
    """One file at `path`, whatever the number of rows; the caller makes it atomic."""
    return TableFiles(lambda _: path, schema, rows_per_file=2**62)


@contextmanager
def kept_and_removed(kept: Path, removed: Path) -> Iterator[tuple[TableFiles, TableFiles]]:
    """The two tables that a part becomes, there whole or not at all: its documents, and those removed with the
    reason."""
    with (
        atomic_file(kept) as kept_file,
        atomic_file(removed) as removed_file,
        table_writer(kept_file, DOCUMENT) as kept_table,
        table_writer(removed_file, REMOVED) as removed_table,
    ):
        yield kept_table, removed_table


def removed_rows(
    batch: pa.RecordBatch,
    reason: pa.Array,
    detail: pa.Array,
    duplicate_of: pa.Array | None = None,
    jaccard: pa.Array | None = None,
) -> pa.RecordBatch:
    """`batch` (schema of documents) with the columns of removed documents; absent ones are null."""
    extra = (reason, detail, duplicate_of, jaccard)
    columns = [
        pa.nulls(batch.num_rows, field.type) if values is None else values.cast(field.type)
        for values, field in zip(extra, list(REMOVED)[len(DOCUMENT) :], strict=True)
    ]
    documents = [batch.column(name).cast(DOCUMENT.field(name).type) for name in DOCUMENT.names]
    return pa.RecordBatch.from_arrays([*documents, *columns], schema=REMOVED)
