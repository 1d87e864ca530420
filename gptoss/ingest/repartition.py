"""From the tables of the reading tasks to document files of bounded size, each the work of one task of later stages.

Consecutive tables share a file while it holds no more than `ingest.documents_per_file` rows; a table with more rows is
cut into several files. The cuts are a function of the numbers of rows, so they are the same wherever a task ran. Rows
are copied as Arrow batches; a file that is exactly one table is not copied at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.tables.batches import ROWS_PER_READ, TableWriter
from gptoss.tables.documents import DOCUMENT, REJECTED


@dataclass(frozen=True)
class TableSlice:
    """Rows `start` to `stop` (exclusive) of the table at `path`; `is_whole` when it has no other rows."""

    path: str
    start: int
    stop: int
    is_whole: bool


@dataclass(frozen=True)
class DocumentFile:
    """A file of the output: where it is or will be, and the slices it is made of."""

    path: Path
    slices: tuple[TableSlice, ...]
    must_write: bool


def document_files(tables: Sequence[tuple[Path, int]], rows_per_file: int, folder: Path) -> list[DocumentFile]:
    """The files of the output, from the tables and their numbers of rows. Those that must be written are in `folder`.
    Without any row there is one file without slices, so that later stages find an empty table."""
    files = []
    for number, slices in enumerate(assign_rows(tables, rows_per_file)):
        # A table that is a file by itself is used as it is: most sources of large raw files need no copy.
        is_table = len(slices) == 1 and slices[0].is_whole
        path = Path(slices[0].path) if is_table else folder / f"{number:05d}.parquet"
        files.append(DocumentFile(path, tuple(slices), must_write=not is_table))
    return files


def assign_rows(tables: Sequence[tuple[Path, int]], rows_per_file: int) -> list[list[TableSlice]]:
    """The slices of each file."""
    files: list[list[TableSlice]] = []
    room = 0
    for path, rows in tables:
        # A table that does not fit into the rest of a file begins a new one; only longer tables than a file are cut.
        if rows > room:
            room = 0
        for start in range(0, rows, rows_per_file):
            stop = min(rows, start + rows_per_file)
            if stop - start > room:
                files.append([])
                room = rows_per_file
            files[-1].append(TableSlice(str(path), start, stop, stop - start == rows))
            room -= stop - start
    # Without any row there is still one file.
    return files or [[]]


def write_tasks(files: Sequence[DocumentFile]) -> list[dict[str, Any]]:
    """Arguments of `write_file` for the files that must be written."""
    return [
        {"slices": [asdict(table_slice) for table_slice in file.slices], "target": str(file.path)}
        for file in files
        if file.must_write
    ]


def write_file(slices: Sequence[dict[str, Any]], target: str) -> dict[str, Any]:
    """Write one file; returns its number of rows."""
    # Writing in batches keeps one row group in memory, not the file.
    with atomic_file(Path(target)) as partial, TableWriter(partial, DOCUMENT) as writer:
        for table_slice in slices:
            for batch in _slice_batches(Path(table_slice["path"]), table_slice["start"], table_slice["stop"]):
                writer.write(batch)
    return {"rows": writer.rows}


def _slice_batches(path: Path, start: int, stop: int) -> Iterator[pa.RecordBatch]:
    """Rows of a table in small batches; row groups that hold none of them are not read."""
    table = pq.ParquetFile(path)
    # Parquet cannot seek to a row, only to a row group.
    group_start = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if group_start < stop and group_start + rows > start:
            batch_start = group_start
            for batch in table.iter_batches(batch_size=ROWS_PER_READ, row_groups=[group]):
                low, high = max(start - batch_start, 0), min(stop - batch_start, batch.num_rows)
                if low < high:
                    yield batch.slice(low, high - low)
                batch_start += batch.num_rows
        group_start += rows


def write_rejections(tables: Sequence[Path], target: Path) -> int:
    """Write all rejections to one table; returns how many."""
    with atomic_file(target) as partial, TableWriter(partial, REJECTED) as writer:
        for path in tables:
            for batch in pq.ParquetFile(path).iter_batches():
                writer.write(batch)
    return writer.rows
