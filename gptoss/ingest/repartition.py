"""From the tables of the reading tasks to the parts of the stage's output, each the work of one task of later stages.

Consecutive tables share a part while it holds no more than `ingest.documents_per_file` rows; a table with more is cut
into several parts. The cuts are a function of the numbers of rows, so they are the same wherever a task ran. Rows are
copied as Arrow batches; a part that is one whole table is that file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.tables.batches import ROWS_PER_READ, table_writer
from gptoss.tables.documents import DOCUMENT, REJECTED


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` (exclusive) of the table at `path`; `whole` when it has no others."""

    path: str
    start: int
    stop: int
    whole: bool


def parts(tables: Sequence[tuple[Path, int]], rows_per_part: int) -> list[list[Piece]]:
    """The pieces of each part, from the tables and their numbers of rows; without any row, one part of no pieces."""
    found: list[list[Piece]] = []
    room = 0
    for path, rows in tables:
        if rows > room:
            room = 0
        for start in range(0, rows, rows_per_part):
            stop = min(rows, start + rows_per_part)
            if stop - start > room:
                found.append([])
                room = rows_per_part
            found[-1].append(Piece(str(path), start, stop, stop - start == rows))
            room -= stop - start
    return found or [[]]


def packing_tasks(plan: Sequence[Sequence[Piece]], folder: Path) -> list[dict[str, Any]]:
    """Arguments of `pack` for the parts that must be written."""
    return [
        {"pieces": [asdict(piece) for piece in pieces], "target": str(packed_path(folder, number))}
        for number, pieces in enumerate(plan)
        if not is_one_table(pieces)
    ]


def packed_path(folder: Path, number: int) -> Path:
    """Where part `number` is put together."""
    return folder / "parts" / f"{number:05d}.parquet"


def part_path(plan: Sequence[Sequence[Piece]], folder: Path, number: int) -> Path:
    """The file that is part `number`."""
    pieces = plan[number]
    return Path(pieces[0].path) if is_one_table(pieces) else packed_path(folder, number)


def is_one_table(pieces: Sequence[Piece]) -> bool:
    """Whether a part need not be written."""
    return len(pieces) == 1 and pieces[0].whole


def pack(pieces: Sequence[dict[str, Any]], target: str) -> dict[str, Any]:
    """Write one part; returns its number of rows."""
    with atomic_file(Path(target)) as partial, table_writer(partial, DOCUMENT) as writer:
        for piece in pieces:
            for batch in _slice(Path(piece["path"]), piece["start"], piece["stop"]):
                writer.write(batch)
    return {"rows": writer.rows}


def _slice(path: Path, start: int, stop: int) -> Iterator[pa.RecordBatch]:
    """Rows of a table in small batches; row groups that hold none of them are not read."""
    table = pq.ParquetFile(path)
    first = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if first < stop and first + rows > start:
            at = first
            for batch in table.iter_batches(batch_size=ROWS_PER_READ, row_groups=[group]):
                low, high = max(start - at, 0), min(stop - at, batch.num_rows)
                if low < high:
                    yield batch.slice(low, high - low)
                at += batch.num_rows
        first += rows


def join_rejections(tables: Sequence[Path], target: Path) -> int:
    """All rejections in one table; returns how many."""
    with table_writer(target, REJECTED) as writer:
        for path in tables:
            for batch in pq.ParquetFile(path).iter_batches():
                writer.write(batch)
    return writer.rows
