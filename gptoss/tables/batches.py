"""Stream document tables through a stage: read batches and write row groups that are bounded in bytes.

Bounds in bytes keep memory constant whether documents are tweets or novels. Where a batch or row group ends depends
only on the input, so equal inputs give equal output bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import DataError
from gptoss.tables.documents import DOCUMENT, REMOVED, ROWS_PER_GROUP, document_files

# The per-word arrays of a batch of this size stay close to the processor's cache; larger batches measured slower.
BATCH_BYTES = 2 * 2**20
# Rows that Arrow decodes at a time. Small, so that a batch overshoots its limit by little even where texts are books.
ROWS_PER_READ = 64
# A row group is held in memory until it is complete, so it is bounded in bytes as well as in rows.
BYTES_PER_GROUP = 64 * 2**20
# Columns with few distinct values. Dictionaries are off for the others: one for `text` takes a third of the write time.
DICTIONARY_COLUMNS = ("source", "language", "license", "reason")


def part_files(folder: Path) -> list[Path]:
    """The document tables of `folder`, in order. Each of these parts is processed by one task.

    Errors: `DataError` when the folder holds none.
    """
    found = document_files(folder)
    if not found:
        raise DataError(f"{folder} holds no documents-*.parquet", "run `dvc repro`, which creates them")
    return found


def part_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The documents of one table, in order, in batches of about `BATCH_BYTES` and at least one document."""
    pending: list[pa.RecordBatch] = []
    size = 0
    table = pq.ParquetFile(path)
    # `use_threads=False`: tasks already run in parallel, one per core. Arrow's own threads would compete with them, and
    # handing every read to another thread costs more than decoding 64 rows.
    for batch in table.iter_batches(batch_size=ROWS_PER_READ, columns=list(columns or []) or None, use_threads=False):
        pending.append(batch)
        size += batch.nbytes
        if size >= BATCH_BYTES:
            yield _concatenated(pending)
            pending, size = [], 0
    if pending:
        yield _concatenated(pending)


def _concatenated(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    # Arrow copies the data of a single batch as well.
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]


class TableWriter:
    """Writes record batches to one Parquet file (zstd), which may end up without rows. The caller makes it atomic."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0
        self.rows = 0
        dictionaries = [name for name in schema.names if name in DICTIONARY_COLUMNS]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=dictionaries or False)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A table without rows still gets its (empty) row group, as pq.write_table gives it one.
        if kind is None and (self._pending or self.rows == 0):
            self._flush()
        self._writer.close()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows. Columns are reordered and cast to the schema of the file."""
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        for batch in table.select(self._schema.names).cast(self._schema).to_batches():
            while batch.num_rows:
                head = batch.slice(0, ROWS_PER_GROUP - self._pending_rows)
                self._append(head)
                batch = batch.slice(head.num_rows)

    def _append(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._pending_rows == ROWS_PER_GROUP or self._pending_bytes >= BYTES_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        # The pending rows are at most one group, so this writes exactly one.
        self._writer.write_table(
            pa.Table.from_batches(self._pending, schema=self._schema), row_group_size=ROWS_PER_GROUP
        )
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0


@contextmanager
def kept_and_removed(kept: Path, removed: Path) -> Iterator[tuple[TableWriter, TableWriter]]:
    """The output tables of a part, written atomically: documents kept, and documents removed with the reason."""
    with (
        atomic_file(kept) as kept_file,
        atomic_file(removed) as removed_file,
        TableWriter(kept_file, DOCUMENT) as kept_table,
        TableWriter(removed_file, REMOVED) as removed_table,
    ):
        yield kept_table, removed_table


def removed_rows(
    batch: pa.RecordBatch,
    reason: pa.Array,
    detail: pa.Array,
    duplicate_of: pa.Array | None = None,
    jaccard: pa.Array | None = None,
) -> pa.RecordBatch:
    """Documents with the additional columns of the `REMOVED` schema; values that are not given become null."""
    # Position by position: the additional columns follow those of DOCUMENT in REMOVED.
    extra = (reason, detail, duplicate_of, jaccard)
    columns = [
        pa.nulls(batch.num_rows, field.type) if values is None else values.cast(field.type)
        for values, field in zip(extra, list(REMOVED)[len(DOCUMENT) :], strict=True)
    ]
    documents = [batch.column(name).cast(DOCUMENT.field(name).type) for name in DOCUMENT.names]
    return pa.RecordBatch.from_arrays([*documents, *columns], schema=REMOVED)
