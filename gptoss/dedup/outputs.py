"""From fates to files: each part becomes its kept documents and its removed ones, which name what they duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.find_duplicates import DedupDecisions
from gptoss.executor.tasks import Result
from gptoss.tables.batches import kept_and_removed, part_batches, removed_rows

REMOVED_ROWS = pa.schema(
    [
        ("row", pa.int64()),
        ("duplicate_of", pa.large_string()),
        ("jaccard", pa.float64()),
        ("exact", pa.bool_()),
        ("known", pa.bool_()),
    ]
)
"""What happens to the documents of a part: those that are removed, by row. `known`: an earlier run kept the other."""


def write_fates(fate: DedupDecisions, folder: Path) -> list[Path]:
    """A small table for each part, `REMOVED_ROWS`: what the tasks that write documents need to know."""
    folder.mkdir(parents=True, exist_ok=True)
    partners = np.unique(fate.duplicate_of[fate.removed])
    ids = fate.corpus.ids(partners)
    files = []
    for number, part in enumerate(part for part in fate.corpus.parts if not part.known):
        here = part.positions
        rows = np.flatnonzero(fate.removed[here])
        partner = fate.duplicate_of[here][rows]
        columns = [
            pa.array(rows),
            ids.take(pa.array(np.searchsorted(partners, partner))),
            pa.array(fate.jaccard[here][rows]),
            pa.array(fate.exact[here][rows]),
            pa.array(partner >= fate.corpus.documents),
        ]
        files.append(folder / f"{number:05d}.parquet")
        with atomic_file(files[-1]) as partial:
            pq.write_table(pa.Table.from_arrays(columns, schema=REMOVED_ROWS), partial)
    return files


def write_part(part: str, fates: str, kept: str, removed: str) -> Result:
    """A task: write the kept and the removed documents of a part. Returns documents and bytes of both."""
    gone = pq.read_table(fates).combine_chunks()
    rows = np.asarray(gone.column("row"))
    first = kept_bytes = all_bytes = 0
    with kept_and_removed(Path(kept), Path(removed)) as (kept_table, removed_table):
        for batch in part_batches(Path(part)):
            start, end = np.searchsorted(rows, (first, first + batch.num_rows))
            keep = np.ones(batch.num_rows, dtype=np.bool_)
            keep[rows[start:end] - first] = False
            left = batch.filter(pa.array(keep))
            kept_table.write(left)
            removed_table.write(explained(batch.filter(pa.array(~keep)), gone.slice(start, end - start)))
            kept_bytes += text_bytes(left)
            all_bytes += text_bytes(batch)
            first += batch.num_rows
    exact = int(pc.sum(gone.column("exact")).as_py() or 0)
    return {
        "documents_in": first,
        "documents_kept": first - len(rows),
        "removed_exact": exact,
        "removed_fuzzy": len(rows) - exact,
        "removed_known": int(pc.sum(gone.column("known")).as_py() or 0),
        "bytes_in": all_bytes,
        "bytes_kept": kept_bytes,
    }


def explained(rows: pa.RecordBatch, fates: pa.Table) -> pa.RecordBatch:
    """Removed documents with reason, detail, the id of the kept document and the similarity."""
    similarity = fates.column("jaccard").combine_chunks()
    reason = pc.if_else(fates.column("exact").combine_chunks(), "exact", "fuzzy")
    detail = pa.array([f"jaccard {value:.4f}" for value in similarity.to_pylist()], pa.string())
    partner = fates.column("duplicate_of").combine_chunks().cast(pa.string())
    return removed_rows(rows, reason, detail, partner, similarity)


def text_bytes(batch: pa.RecordBatch) -> int:
    """UTF-8 bytes of the texts of a batch."""
    return pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0


def totals(results: Sequence[Result]) -> dict[str, int]:
    """The sums of the counts of some parts."""
    return {key: sum(result[key] for result in results) for key in COUNTS}


COUNTS = (
    "documents_in",
    "documents_kept",
    "removed_exact",
    "removed_fuzzy",
    "removed_known",
    "bytes_in",
    "bytes_kept",
)
