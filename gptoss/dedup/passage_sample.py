"""A sample of the passages that were removed, for people to look at: one row per different passage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.text.arrays import Integers

SAMPLE_SIZE = 1_000
"""Different passages in the sample."""
PASSAGES = pa.schema(
    [
        ("id", pa.string()),
        ("words", pa.int64()),
        ("first_id", pa.string()),
        ("copies", pa.int64()),
        ("passage", pa.large_string()),
    ]
)
"""A removed passage: the document from which it was removed (the first of several), its length, the document that holds
its first occurrence, how often a passage that begins with the same window was removed, and the beginning of its
text."""
SAMPLE_SCHEMA = pa.schema([*PASSAGES, ("hash", pa.uint64()), ("first_part", pa.int64()), ("first_word", pa.int64())])
"""The sample of one part: `first_id` is still empty, its document is given by part and word."""


def merge_samples(
    samples: Sequence[Path], parts: Sequence[Path], document_bounds: Callable[[int], Integers]
) -> pa.Table:
    """`PASSAGES`: one sample of all parts. `samples`: the sample of each part, where it has one; `document_bounds(n)`:
    the words at which the documents of part n begin."""
    merged = SAMPLE_SCHEMA.empty_table()
    copies_field = SAMPLE_SCHEMA.get_field_index("copies")
    for path in filter(Path.exists, samples):
        both = pa.concat_tables([merged, pq.read_table(path, schema=SAMPLE_SCHEMA)])
        _, first, group = np.unique(both.column("hash").to_numpy(), return_index=True, return_inverse=True)
        copies = np.zeros(len(first), dtype=np.int64)
        np.add.at(copies, group, both.column("copies").to_numpy())
        merged = both.take(pa.array(first[:SAMPLE_SIZE])).set_column(
            copies_field, SAMPLE_SCHEMA.field(copies_field), pa.array(copies[:SAMPLE_SIZE])
        )
    first_parts, first_words = (merged.column(name).to_numpy() for name in ("first_part", "first_word"))
    ids = np.full(len(merged), None, dtype=object)
    for part in np.unique(first_parts).tolist():
        held = np.flatnonzero(first_parts == part)
        rows = np.searchsorted(document_bounds(part), first_words[held], side="right") - 1
        ids[held] = pq.read_table(parts[part], columns=["id"]).column("id").take(pa.array(rows)).to_pylist()
    id_field = PASSAGES.get_field_index("first_id")
    return merged.select(PASSAGES.names).set_column(id_field, PASSAGES.field(id_field), pa.array(ids, pa.string()))
