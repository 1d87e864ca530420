"""Documents and bytes, counted from the tables: one pass over each file, a few megabytes of memory.

Samples are the documents with the smallest ids. Ids are hashes, so this is a random choice that depends neither on the
order of the files nor on a seed.
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

# `{"documents": …, "bytes": …}`, bytes of UTF-8 text.
Amount = dict[str, int]
Key = tuple[str, ...]

# A row of a book is a megabyte of text, and only a few rows of a group are wanted.
ROWS_PER_READ = 64


def amounts(files: Iterable[Path], keys: list[str]) -> dict[Key, Amount]:
    """Documents and bytes by the values of the columns `keys` (empty string for null)."""
    sums: dict[Key, Amount] = {}
    for path in files:
        for batch in part_batches(path, [*keys, "text"]):
            _count(batch, keys, sums)
    return sums


def _count(batch: pa.RecordBatch, keys: list[str], sums: dict[Key, Amount]) -> None:
    # Bytes of UTF-8, which is how Arrow stores text; int64, since the sum of a batch may exceed 2^31.
    length = pc.cast(pc.binary_length(batch["text"]), pa.int64())
    # Grouping in Arrow: a loop over rows would take minutes per gigabyte.
    sized = pa.table({**{key: batch[key] for key in keys}, "bytes": length})
    for row in sized.group_by(keys).aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist():
        add(sums, tuple(row[key] or "" for key in keys), row["bytes_count"], row["bytes_sum"] or 0)


def add(sums: dict[Key, Amount], key: Key, documents: int, size: int) -> None:
    """Add to the amount of a key."""
    entry = sums.setdefault(key, {"documents": 0, "bytes": 0})
    entry["documents"] += documents
    entry["bytes"] += size


def group_by(sums: dict[Key, Amount], *positions: int) -> dict[Key, Amount]:
    """The same amounts by the parts of the key at `positions`."""
    fewer: dict[Key, Amount] = {}
    for key, amount in sums.items():
        add(fewer, tuple(key[position] for position in positions), amount["documents"], amount["bytes"])
    return fewer


def total(sums: Iterable[Amount]) -> Amount:
    """The sum of all amounts."""
    whole: dict[Key, Amount] = {(): {"documents": 0, "bytes": 0}}
    for amount in sums:
        add(whole, (), amount["documents"], amount["bytes"])
    return whole[()]


def count_removed(
    files: Iterable[Path], keys: list[str], samples: int
) -> tuple[dict[Key, Amount], dict[str, list[str]]]:
    """Amounts by `keys`, and the smallest `samples` ids per reason, in one pass over tables of removed documents."""
    sums: dict[Key, Amount] = {}
    chosen: dict[str, list[str]] = {}
    for path in files:
        for batch in part_batches(path, sorted({*keys, "id", "reason", "text"})):
            _count(batch, keys, sums)
            for identity, reason in zip(batch["id"].to_pylist(), batch["reason"].to_pylist(), strict=True):
                ids = chosen.setdefault(reason or "", [])
                # A sorted list of at most `samples` ids: a heap would need no less code and save nothing at ten ids.
                if (len(ids) < samples or identity < ids[-1]) and identity not in ids:
                    insort(ids, identity)
                    del ids[samples:]
    return sums, chosen


def read_rows(files: Iterable[Path], ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows with these ids, in the order of the files. All ids are read, but texts only from the row groups that
    contain a wanted one."""
    # `is_in` on Arrow arrays: no Python object per id of the table.
    wanted = pa.array(sorted(set(ids)), pa.string())
    if not len(wanted):
        return
    for path in files:
        table = pq.ParquetFile(path)
        for group in range(table.num_row_groups):
            hits = pc.is_in(table.read_row_group(group, columns=["id"])["id"], wanted)
            # Ids are a small column; texts, which are most of the file, are skipped with the group.
            if not pc.any(hits).as_py():
                continue
            # Hits cover the group, batches come in pieces of it.
            position = 0
            for batch in table.iter_batches(batch_size=ROWS_PER_READ, row_groups=[group]):
                here = hits.slice(position, batch.num_rows).combine_chunks()
                position += batch.num_rows
                yield from batch.filter(here).to_pylist()
