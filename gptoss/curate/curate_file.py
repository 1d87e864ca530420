"""Curate one file of a source: the task that the stage runs for each of its document tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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


def output_files(file: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Where `curate_file` writes the documents kept, those removed, and samples of repeated lines."""
    # The number of the input is kept: tasks then need not know of each other, and `dedup` sees the order of the files.
    number = file.stem.rpartition("-")[2]
    kept, removed, samples = (folder / f"{name}-{number}.parquet" for name in ("documents", "removed", "lines"))
    return kept, removed, samples


def curate_file(file: str, folder: str, filters: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Task: write the `output_files` of a document table.

    Returns counts (keys of the metrics) and histograms, both summed over the file: results of tasks are kept in memory
    by the stage, so they must not grow with the documents.
    """
    active = create_filters(filters)
    counts: Counter[str] = Counter()
    binned: list[histograms.Counts] = []
    samples: dict[int, tuple[str, int]] = {}
    with ExitStack() as stack:
        # The files get their names when the task succeeds, so a killed task leaves no partial table.
        kept_table, removed_table, samples_table = (
            stack.enter_context(TableWriter(stack.enter_context(atomic_file(path)), schema))
            for path, schema in zip(
                output_files(Path(file), Path(folder)), (DOCUMENT, REMOVED, LINE_SAMPLE), strict=True
            )
        )
        for ingested in part_batches(Path(file)):
            batch = DocumentBatch(ingested)
            for each in active:
                each.apply(batch)
            kept, removed = batch.split()
            kept_table.write(kept)
            removed_table.write(removed)
            # After all filters: a histogram of documents kept needs the last decision, one of all needs every document.
            languages = batch.documents.column("language").to_pylist()
            binned.append(histograms.count_documents(batch.measures, languages, batch.kept_flags))
            counts.update(batch.counts)
            samples = batch.line_samples | samples  # the wording met first is kept
        rows = [{"key": key, "line": line, "documents": number} for key, (line, number) in samples.items()]
        samples_table.write(pa.RecordBatch.from_pylist(rows, schema=LINE_SAMPLE))
    total = histograms.merge(binned)
    return {"counts": dict(counts), "histograms": {key: dict(value) for key, value in total.items()}}
