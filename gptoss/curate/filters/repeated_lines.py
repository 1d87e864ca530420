"""Cuts boilerplate: lines that occur in many documents of a source, or of a web site in crawls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.core.atomic_files import atomic_file
from gptoss.curate.document_batch import DocumentBatch, text_bytes
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.executor.tasks import run_tasks
from gptoss.quality.repeated_lines import (
    PAIRS_PER_RANGE,
    RepeatedLines,
    count_documents,
    document_scopes,
    hash_lines,
    remove_lines,
    write_line_pairs,
)

# Lines of samples are for people: longer ones would only make the table of repeated lines unreadable.
MAX_SAMPLE_CHARACTERS = 300


class RepeatedLinesFilter(Filter):
    """Configured by `curate.repeated_lines`, for sources that list `repeated_lines` in `sources.NAME.rules`.

    Edits texts. Reason `repeated_lines` for a document of which no line is left.

    References: CCNet (Wenzek et al. 2020, section 3.2), which removes paragraphs repeated over a crawl.
    """

    name = "repeated_lines"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        config = context.curate.repeated_lines
        if config is None or cls.name not in context.source.rules:
            return None
        lines = {"min_words": config.min_words, "by_site": context.source.format == "warc"}
        return {"repeated": _find_repeated_lines(context, config.min_documents, lines), **lines}

    def __init__(self, repeated: str, min_words: int, by_site: bool) -> None:
        self.repeated = RepeatedLines.load(Path(repeated))
        self.min_words = min_words
        self.by_site = by_site

    def apply(self, batch: DocumentBatch) -> None:
        # Lines are compared as ingested, as they were when they were counted. Redaction replaces no line feed, so the
        # line numbers are the same in the redacted texts, from which they are cut.
        lines = hash_lines(batch.ingested.column("text"), document_scopes(batch.ingested, self.by_site), self.min_words)
        marked = self.repeated.marks(lines)
        for key, wording, documents in self.repeated.samples(batch.texts, lines):
            batch.line_samples.setdefault(key, (wording[:MAX_SAMPLE_CHARACTERS], documents))
        texts = remove_lines(batch.texts, lines, marked)
        batch.counts["lines_cut"] += int(marked.sum())
        batch.counts["bytes_cut"] += text_bytes(batch.texts) - text_bytes(texts)
        batch.texts = texts
        removed_per_text = np.bincount(lines.owners, marked, len(texts)).astype(np.int64)
        empty = pc.and_(pa.array(removed_per_text > 0), pc.equal(pc.utf8_trim_whitespace(texts), ""))
        detail = pc.binary_join_element_wise(pa.array(removed_per_text).cast(pa.string()), "lines, none is left", " ")
        batch.remove(empty, "repeated_lines", detail)


def _find_repeated_lines(context: FilterContext, min_documents: int, lines: dict[str, Any]) -> str:
    """Count, over all files of the source, the documents that contain each line; the file of the repeated ones."""
    folder = context.folder
    tasks = [
        {"file": str(file), "pairs": str(folder / "pairs" / f"{file.stem}.npy"), **lines} for file in context.files
    ]
    bytes_in = sum(file.stat().st_size for file in context.files)
    listed = run_tasks("list_lines", write_line_pairs, tasks, folder, input_bytes=bytes_in)
    total = sum(result["pairs"] for result in listed)
    # Ranges of hashes bound the memory of step 2 whatever the size of the source; hashes are evenly distributed.
    ranges = max(1, -(-total // PAIRS_PER_RANGE))
    # An empty array cannot be mapped into memory.
    pairs = [task["pairs"] for task, result in zip(tasks, listed, strict=True) if result["pairs"]]
    counts = [
        {"pairs": pairs, "number": number, "ranges": ranges, "min_documents": min_documents,
         "repeated": str(folder / "repeated" / f"{number:06d}.npy")}
        for number in range(ranges)
    ]  # fmt: skip
    run_tasks("count_lines", count_documents, counts, folder, input_bytes=16 * total)  # a pair is two 8-byte hashes
    # Ranges ascend, so the concatenation is sorted.
    merged = folder / "repeated.npy"
    with atomic_file(merged) as partial, partial.open("wb") as stream:
        np.save(stream, np.concatenate([np.load(task["repeated"]) for task in counts]))
    return str(merged)
