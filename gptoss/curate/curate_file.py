"""Curate one file of a source: the task that the stage runs for each of its document tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from gptoss.core.atomic_files import atomic_file
from gptoss.curate import histograms
from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters import create_filters
from gptoss.tables.batches import TableWriter, part_batches
from gptoss.tables.documents import DOCUMENT, REMOVED

LINE_SAMPLE = pa.schema([("key", pa.uint64()), ("line", pa.string()), ("documents", pa.int64())])
"""Hash, wording and number of documents of a repeated line that was cut."""


def curate_task(file: Path, filters: Mapping[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The arguments of `curate_file` for one document table: all its files have the number of the table."""
    number = file.stem.rpartition("-")[2]
    outputs = folder / "parts"
    return {
        "file": str(file),
        "kept": str(outputs / file.name),
        "removed": str(outputs / f"removed-{number}.parquet"),
        "line_samples": str(outputs / f"lines-{number}.parquet"),
        "filters": filters,
    }


def curate_file(
    file: str, kept: str, removed: str, line_samples: str, filters: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Task: write the documents of `file` that are kept, those removed, and samples of the repeated lines cut.

    Returns counts (keys of the metrics) and histograms, both summed over the file.
    """
    active = create_filters(filters)
    counts: Counter[str] = Counter()
    binned: list[histograms.Counts] = []
    samples: dict[int, tuple[str, int]] = {}
    with ExitStack() as stack:
        kept_table, removed_table, samples_table = (
            stack.enter_context(TableWriter(stack.enter_context(atomic_file(Path(name))), schema))
            for name, schema in ((kept, DOCUMENT), (removed, REMOVED), (line_samples, LINE_SAMPLE))
        )
        for ingested in part_batches(Path(file)):
            batch = DocumentBatch(ingested)
            for each in active:
                each.apply(batch)
            for table, rows in zip((kept_table, removed_table), batch.split(), strict=True):
                table.write(rows)
            languages = batch.documents.column("language").to_pylist()
            binned.append(histograms.count_documents(batch.measures, languages, batch.kept_flags))
            counts.update(batch.counts)
            samples = batch.line_samples | samples  # the wording met first is kept
        samples_table.write(_sample_rows(samples.items()))
    total = histograms.merge(binned)
    return {"counts": dict(counts), "histograms": {key: dict(value) for key, value in total.items()}}


def _sample_rows(samples: Iterable[tuple[int, tuple[str, int]]]) -> pa.RecordBatch:
    rows = [{"key": key, "line": line, "documents": documents} for key, (line, documents) in samples]
    return pa.RecordBatch.from_pylist(rows, schema=LINE_SAMPLE)
