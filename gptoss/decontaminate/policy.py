"""Apply the policy to documents that contain a benchmark item: drop, trim or mark them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import read_json
from gptoss.decontaminate.benchmark_ngrams import BenchmarkNgrams, Match
from gptoss.decontaminate.index_files import open_benchmark
from gptoss.decontaminate.search import MATCHES
from gptoss.decontaminate.trim import trim
from gptoss.executor.tasks import Result
from gptoss.tables.batches import kept_and_removed, part_batches, removed_rows
from gptoss.tables.documents import text_bytes
from gptoss.text.spans import replace_documents

# `trim` removes a document that falls into more pieces than this, as for GPT-3.
MAX_PIECES = 10


def apply_policy(
    part: str, matches: str, common: str, policy: str, kept: str, removed: str, folder: str, sha256: str
) -> Result:
    """Task: apply the policy to the documents of `part` with a match that is not in `common`. Writes the documents
    `kept` and `removed`, and returns counts."""
    ignored = {ngram.encode() for ngram in read_json(Path(common))}
    applier = PolicyApplier(open_benchmark(folder, sha256), ignored, policy)
    contaminated = contaminated_rows(Path(matches), ignored)
    counts: Counter[str] = Counter(contaminated=len(contaminated))
    first = 0
    with kept_and_removed(Path(kept), Path(removed)) as (kept_writer, removed_writer):
        # All columns are read now; the search read the texts only, and most parts have few contaminated documents.
        for batch in part_batches(Path(part)):
            rows = [row for row in range(batch.num_rows) if first + row in contaminated]
            kept_documents, removed_documents = applier.apply(batch, rows)
            kept_writer.write(kept_documents)
            removed_writer.write(removed_documents)
            counts.update(count(batch, kept_documents, removed_documents))
            first += batch.num_rows
    return dict(counts)


def contaminated_rows(matches: Path, ignored: set[bytes]) -> set[int]:
    """The rows of a part with an n-gram that is not ignored. The lists of rows of such n-grams are complete."""
    # From the matches of the search: documents without one need not be searched again.
    table = pq.read_table(matches, schema=MATCHES)
    ngrams, rows = (table.column(name).to_pylist() for name in ("ngram", "rows"))
    return {row for ngram, documents in zip(ngrams, rows, strict=True) if ngram not in ignored for row in documents}


@dataclass(frozen=True)
class PolicyApplier:
    """Applies a policy to batches of documents. `ignored`: n-grams that are common phrases."""

    benchmark: BenchmarkNgrams
    ignored: set[bytes]
    policy: str

    def apply(self, batch: pa.RecordBatch, rows: list[int]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The documents that are kept, some of them changed, and those that are removed, given the contaminated
        `rows`."""
        changed, removed, details = {}, [], []
        for row in rows:
            document = batch.slice(row, 1).to_pylist()[0]
            matches = self.matches(document["text"])
            rewritten = None if self.policy == "drop" else self.rewrite(document, matches)
            if rewritten is None:
                removed.append(row)
                details.append(self.detail(matches))
            else:
                changed[row] = rewritten
        # Filtered by a mask, so that both tables keep the order of the input.
        keep = np.ones(batch.num_rows, dtype=np.bool_)
        keep[removed] = False
        reason = pa.array(["contaminated"] * len(removed), pa.string())
        removed_documents = removed_rows(batch.filter(pa.array(~keep)), reason, pa.array(details, pa.string()))
        kept_documents = replace_documents(batch, changed)
        return kept_documents.filter(pa.array(keep)) if removed else kept_documents, removed_documents

    def matches(self, text: str) -> list[Match]:
        """The matches in a text that are not ignored."""
        found = self.benchmark.matches(pa.array([text], pa.large_string()))
        return [match for match in found if match.ngram not in self.ignored]

    def detail(self, matches: list[Match]) -> str:
        """The first item found and its n-gram, for people to read."""
        others = len({item for match in matches for item in match.items}) - 1
        more = f" and {others} more items" if others else ""
        return f"{self.benchmark.name(matches[0].items[0])}: “{matches[0].ngram.decode()}”{more}"

    def rewrite(self, document: dict[str, Any], matches: list[Match]) -> dict[str, Any] | None:
        """The document marked or trimmed; None if too little is left of it."""
        meta = json.loads(document["meta"] or "{}")
        meta["contaminated"] = sorted({self.benchmark.name(item) for match in matches for item in match.items})
        text = document["text"]
        if self.policy == "trim":
            # Two pieces that meet can form a new match, so the result is searched again.
            while matches:
                pieces = trim(text, ((match.first_word, match.first_word + match.size) for match in matches))
                if not 0 < len(pieces) <= MAX_PIECES:
                    return None
                text = "\n\n".join(pieces)
                matches = self.matches(text)
            meta["trimmed_characters"] = len(document["text"]) - len(text)
        return {"text": text, "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True)}


def count(batch: pa.RecordBatch, kept: pa.RecordBatch, removed: pa.RecordBatch) -> Counter[str]:
    """What one batch adds to the metrics."""
    counts = Counter(f"removed.{source}" for source in removed.column("source").to_pylist())
    counts.update(documents_in=batch.num_rows, documents_kept=kept.num_rows)
    counts.update(bytes_in=text_bytes(batch), bytes_kept=text_bytes(kept))
    return counts
