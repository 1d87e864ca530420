"""From decisions to files: each part becomes its kept documents and its removed ones, with what they duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.core.atomic_files import assembled_folder, atomic_file
from gptoss.dedup.decisions import DedupDecisions
from gptoss.executor.tasks import Result, run_tasks
from gptoss.tables.batches import kept_and_removed, part_batches, removed_rows
from gptoss.tables.documents import text_bytes

# The removed documents of a part, by row. `known`: an earlier run kept the document that they duplicate.
REMOVED_ROWS = pa.schema(
    [
        ("row", pa.int64()),
        ("duplicate_of", pa.large_string()),
        ("jaccard", pa.float64()),
        ("exact", pa.bool_()),
        ("known", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class PartOutput:
    """The files of one part: the decisions about its documents, its kept and its removed documents."""

    decisions: Path
    documents: Path
    removed: Path

    @classmethod
    def in_folder(cls, state: Path, number: int) -> PartOutput:
        """The files of part `number` in the state folder of the stage."""
        kept, removed = (state / "written" / f"{kind}-{number:05d}.parquet" for kind in ("documents", "removed"))
        return cls(state / "decisions" / f"{number:05d}.parquet", kept, removed)


def write_outputs(
    parts: Sequence[Path], decisions: DedupDecisions, state: Path
) -> tuple[list[PartOutput], list[Result]]:
    """Write the kept and the removed documents of each part; returns the files and the counts of each."""
    outputs = [PartOutput.in_folder(state, number) for number in range(len(parts))]
    write_decisions(decisions, outputs)
    tasks = [
        {"part": str(part), "decisions": str(output.decisions), "kept": str(output.documents),
         "removed": str(output.removed)}
        for part, output in zip(parts, outputs, strict=True)
    ]  # fmt: skip
    size = sum(part.stat().st_size for part in parts)
    return outputs, run_tasks("dedup_write", write_part, tasks, state, input_bytes=size, releases_gil=True)


def write_decisions(decisions: DedupDecisions, outputs: Sequence[PartOutput]) -> None:
    """Write a small table per part (`REMOVED_ROWS`): all that the tasks that write documents have to know."""
    # The ids of all kept documents with duplicates are read once, and not per part, as they can be in any part.
    partners = np.unique(decisions.duplicate_of[decisions.removed])
    ids = decisions.corpus.ids(partners)
    # Not strict: known parts follow the new ones and have no output.
    for part, output in zip(decisions.corpus.parts, outputs, strict=False):
        rows = np.flatnonzero(decisions.removed[part.positions])
        partner = decisions.duplicate_of[part.positions][rows]
        columns = [
            pa.array(rows),
            ids.take(pa.array(np.searchsorted(partners, partner))),
            pa.array(decisions.jaccard[part.positions][rows]),
            pa.array(decisions.exact[part.positions][rows]),
            pa.array(partner >= decisions.corpus.new_documents),
        ]
        output.decisions.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(output.decisions) as partial:
            pq.write_table(pa.Table.from_arrays(columns, schema=REMOVED_ROWS), partial)


def write_part(part: str, decisions: str, kept: str, removed: str) -> Result:
    """Task: write the kept and the removed documents of a part. Returns their numbers and bytes."""
    removed_table = pq.read_table(decisions).combine_chunks()
    removed_row = np.asarray(removed_table.column("row"))
    first = kept_bytes = all_bytes = 0
    with kept_and_removed(Path(kept), Path(removed)) as (kept_writer, removed_writer):
        for batch in part_batches(Path(part)):
            start, end = np.searchsorted(removed_row, (first, first + batch.num_rows))
            keep = np.ones(batch.num_rows, dtype=np.bool_)
            keep[removed_row[start:end] - first] = False
            kept_documents = batch.filter(pa.array(keep))
            kept_writer.write(kept_documents)
            removed_writer.write(with_reasons(batch.filter(pa.array(~keep)), removed_table.slice(start, end - start)))
            kept_bytes += text_bytes(kept_documents)
            all_bytes += text_bytes(batch)
            first += batch.num_rows
    exact = int(pc.sum(removed_table.column("exact")).as_py() or 0)
    return {
        "documents_in": first,
        "documents_kept": first - len(removed_row),
        "removed_exact": exact,
        "removed_fuzzy": len(removed_row) - exact,
        "removed_known": int(pc.sum(removed_table.column("known")).as_py() or 0),
        "bytes_in": all_bytes,
        "bytes_kept": kept_bytes,
    }


def with_reasons(documents: pa.RecordBatch, decisions: pa.Table) -> pa.RecordBatch:
    """Removed documents with reason, detail, the id of the kept document and the similarity."""
    similarity = decisions.column("jaccard").combine_chunks()
    reason = pc.if_else(decisions.column("exact").combine_chunks(), "exact", "fuzzy")
    detail = pa.array([f"jaccard {value:.4f}" for value in similarity.to_pylist()], pa.string())
    duplicate_of = decisions.column("duplicate_of").combine_chunks().cast(pa.string())
    return removed_rows(documents, reason, detail, duplicate_of, similarity)


def assemble(
    folder: Path, documents: Sequence[Path], outputs: Sequence[PartOutput], state: Path, index: Sequence[Path]
) -> None:
    """Put the output folder together from the files that the tasks wrote; `documents` replace those of `outputs`."""
    with assembled_folder(folder) as add:
        for number, (kept, output) in enumerate(zip(documents, outputs, strict=True)):
            add(f"documents-{number:05d}.parquet", kept)
            add(f"removed-{number:05d}.parquet", output.removed)
        if (passages := state / "passages.parquet").exists():
            add(passages.name, passages)
    # A folder of its own, to be copied to where later runs find it.
    if index:
        with assembled_folder(folder / "index") as add:
            for file in index:
                add(file.name, file)
