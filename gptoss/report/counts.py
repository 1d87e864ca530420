"""Documents and bytes, counted from the tables themselves: one pass over each file, some megabytes in memory.

Samples are the documents with the smallest ids: ids are hashes, so this is a random choice that never changes.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.tables.batches import part_batches

Amount = dict[str, int]
"""`{"documents": …, "bytes": …}`, bytes of UTF-8 text."""
Key = tuple[str, ...]

ROWS_PER_READ = 64


def amounts(files: Iterable[Path], keys: list[str]) -> dict[Key, Amount]:
    """Documents and bytes by the values of the columns `keys` (empty string for null)."""
    sums: dict[Key, Amount] = {}
    for path in files:
        for batch in part_batches(path, [*keys, "text"]):
            _count(batch, keys, sums)
    return sums


def _count(batch: pa.RecordBatch, keys: list[str], sums: dict[Key, Amount]) -> None:
    length = pc.cast(pc.binary_length(batch["text"]), pa.int64())
    sized = pa.table({**{key: batch[key] for key in keys}, "bytes": length})
    for row in sized.group_by(keys).aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist():
        add(sums, tuple(row[key] or "" for key in keys), row["bytes_count"], row["bytes_sum"] or 0)


def add(sums: dict[Key, Amount], key: Key, documents: int, size: int) -> None:
    """Add to the amount of a key."""
    entry = sums.setdefault(key, {"documents": 0, "bytes": 0})
    entry["documents"] += documents
    entry["bytes"] += size


def group_by(sums: dict[Key, Amount], *positions: int) -> dict[Key, Amount]:
    """The same amounts by fewer keys: those at `positions` of the key."""
    fewer: dict[Key, Amount] = {}
    for key, amount in sums.items():
        add(fewer, tuple(key[position] for position in positions), amount["documents"], amount["bytes"])
    return fewer


def total(sums: Iterable[Amount]) -> Amount:
    """All amounts together."""
    whole: dict[Key, Amount] = {(): {"documents": 0, "bytes": 0}}
    for amount in sums:
        add(whole, (), amount["documents"], amount["bytes"])
    return whole[()]


def count_removed(files: Iterable[Path], keys: list[str], most: int) -> tuple[dict[Key, Amount], dict[str, list[str]]]:
    """Amounts by `keys`, and the `most` smallest ids of each reason, in one pass over tables of removed documents."""
    sums: dict[Key, Amount] = {}
    chosen: dict[str, list[str]] = {}
    for path in files:
        for batch in part_batches(path, sorted({*keys, "id", "reason", "text"})):
            _count(batch, keys, sums)
            for identity, reason in zip(batch["id"].to_pylist(), batch["reason"].to_pylist(), strict=True):
                ids = chosen.setdefault(reason or "", [])
                if (len(ids) < most or identity < ids[-1]) and identity not in ids:
                    insort(ids, identity)
                    del ids[most:]
    return sums, chosen


def read_rows(files: Iterable[Path], ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows with these ids, in the order of the files: one pass over the ids, and the texts are read only of the
    row groups that hold one."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    if not len(wanted):
        return
    for path in files:
        table = pq.ParquetFile(path)
        for group in range(table.num_row_groups):
            hits = pc.is_in(table.read_row_group(group, columns=["id"])["id"], wanted)
            if not pc.any(hits).as_py():
                continue
            position = 0
            for batch in table.iter_batches(batch_size=ROWS_PER_READ, row_groups=[group]):
                here = hits.slice(position, batch.num_rows).combine_chunks()
                position += batch.num_rows
                yield from batch.filter(here).to_pylist()
