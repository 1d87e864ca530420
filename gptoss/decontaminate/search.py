"""Which n-grams of benchmark items are in the documents: a table of matches a part, put together for the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.decontaminate.benchmark_index import benchmark
from gptoss.executor.tasks import Result
from gptoss.tables.batches import part_batches
from gptoss.tables.documents import write_table

COMMON = 10
"""An n-gram in more documents than this is ignored (Brown et al. 2020, appendix C)."""

MATCHES = pa.schema([("ngram", pa.large_binary()), ("items", pa.list_(pa.int32())), ("rows", pa.list_(pa.int64()))])
"""An n-gram found in a part: the items that hold it, by number, and the first `COMMON` + 1 of its documents."""


def search(part: str, matches: str, index: str, sha256: str) -> Result:
    """A task: look for every item in every document of `part` and write what was found to `matches`; returns the
    number of documents."""
    known = benchmark(index, sha256)
    holders: dict[bytes, list[int]] = {}
    items_of: dict[bytes, list[int]] = {}
    position = 0
    for batch in part_batches(Path(part), ["text"]):
        for text, _, _, gram, held in known.matches(batch.column("text")):
            items_of[gram] = held
            _remember(holders.setdefault(gram, []), position + text)
        position += batch.num_rows
    columns = [list(holders), [items_of[gram] for gram in holders], list(holders.values())]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, MATCHES, strict=True)]
    with atomic_file(Path(matches)) as partial:
        write_table(partial, pa.Table.from_arrays(arrays, schema=MATCHES))
    return {"documents": position}


def _remember(documents: list[int], position: int) -> None:
    """Note a document that holds an n-gram: once, in order, and `COMMON` + 1 of them at most."""
    if position not in documents[-1:] and len(documents) <= COMMON:
        documents.append(position)


@dataclass(frozen=True)
class Found:
    """What the training text holds of the benchmark."""

    common: dict[bytes, int]
    """Each n-gram that is ignored with the number of items that hold it."""
    touched: dict[int, set[int]]
    """Each item that was found with the positions in the corpus of the documents that hold it."""


def found_in(matches: Sequence[Path], documents: Sequence[int]) -> Found:
    """Put the matches of all parts together, given the number of documents in each. What is held in memory grows
    with the n-grams found, at most those of the benchmark, and not with the documents."""
    holders: dict[bytes, list[int]] = {}
    items_of: dict[bytes, list[int]] = {}
    start = 0
    for path, count in zip(matches, documents, strict=True):
        table = pq.read_table(path, schema=MATCHES)
        for gram, held, rows in zip(*(table.column(name).to_pylist() for name in MATCHES.names), strict=True):
            items_of[gram] = held
            for row in rows:
                _remember(holders.setdefault(gram, []), start + row)
        start += count
    touched: dict[int, set[int]] = {}
    common = {}
    for gram, held_by in holders.items():
        if len(held_by) > COMMON:
            common[gram] = len(items_of[gram])
            continue
        for item in items_of[gram]:
            touched.setdefault(item, set()).update(held_by)
    return Found(common, touched)
