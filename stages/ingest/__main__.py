"""Raw files of one source, in their native format, to documents.

In: `sources.SOURCE` of `params.yaml`: its format (mediawiki, gutenberg, warc, arxiv) and its `urls` (fsspec URLs, local
globs, members of pinned archives in the package registry, lists of further URLs), each optionally with a checksum.
Out: `data/documents/SOURCE/`: `documents-*.parquet`, `rejected.parquet` (every raw record that should have become a
document and could not, with file, place and reason) and `files.json` (every raw file with its SHA-256).
Wrong: what cannot be reached, found, read or verified ends the stage in one message. A damaged file (cut off, corrupt)
gives the documents before the damage; when damaged files or rejected records exceed `ingest.max_reject_fraction`, the
stage fails and writes nothing. A killed stage continues with the file it was reading.
From: the readers name their methods: `mediawiki.py`, `gutenberg.py`, `warc.py`, `arxiv.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from stages import documents, paths
from stages.entry import run_stage
from stages.errors import DataError
from stages.ingest import state
from stages.ingest.fetch import RawFiles
from stages.ingest.origins import expand
from stages.progress import progress
from stages.settings import Settings
from stages.storage import atomic_folder, write_json
from stages.tracking import StageRun

NAMED_IN_ERRORS = 3
"""How many bad files or records an error names."""


def ingest(settings: Settings, run: StageRun, source: str) -> Mapping[str, Any]:
    """Documents of one source. Returns counts and bytes. Raises `UserError`, `ClusterError`, `DataError`."""
    started = time.monotonic()
    origins = expand(settings.sources[source], settings.seed)
    with RawFiles(run.state) as raw_files:
        reading = (
            state.finished(run.state, number, origin)
            or state.read_file(run.state, number, origin, raw_files, source, settings.sources[source])
            for number, origin in enumerate(origins)
        )
        outcomes = list(progress(reading, f"ingest {source}", total=len(origins), unit="files"))
    check_damage(source, outcomes, settings.ingest.max_reject_fraction)
    totals = write(paths.documents(source), run.state, outcomes, settings.ingest.documents_per_file)
    run.metrics({"seconds": time.monotonic() - started})
    return totals


def check_damage(source: str, outcomes: Sequence[state.Outcome], limit: float) -> None:
    """Raises `DataError` when too much is damaged, or when there is no document at all."""
    damaged = [outcome for outcome in outcomes if outcome.damage]
    rejected = sum(outcome.rejected for outcome in outcomes)
    records = rejected + sum(outcome.documents + sum(outcome.skipped.values()) for outcome in outcomes)
    named = "; ".join(f"{outcome.url}: {outcome.damage}" for outcome in damaged[:NAMED_IN_ERRORS])
    if len(damaged) > limit * len(outcomes):
        raise DataError(
            f"sources.{source}: {_share(len(damaged), len(outcomes), 'files are damaged', limit)}: {named}",
            "fetch the damaged files again, or remove them from sources; raise ingest.max_reject_fraction to accept "
            "what was read before the damage",
        )
    if rejected > limit * records:
        worst = max(outcomes, key=lambda outcome: outcome.rejected)
        raise DataError(
            f"sources.{source}: {_share(rejected, records, 'records are rejected', limit)}: {worst.rejected} of them "
            f"in {worst.url}, the first at {worst.first_rejection}",
            f"check that sources.{source}.format is the format of this file, mend the file, or raise "
            "ingest.max_reject_fraction",
        )
    if not any(outcome.documents for outcome in outcomes):
        skipped = dict(sum((Counter(outcome.skipped) for outcome in outcomes), Counter()))
        raise DataError(
            f"sources.{source}: {len(outcomes)} files gave no document (skipped: {skipped or 'nothing'})",
            f"check that sources.{source}.format is the format of these files",
        )


def _share(part: int, whole: int, what: str, limit: float) -> str:
    return f"{part} of {whole} {what} ({part} / {whole} = {part / whole:.3f} > ingest.max_reject_fraction = {limit:g})"


def write(target: Path, folder: Path, outcomes: Sequence[state.Outcome], rows_per_file: int) -> dict[str, Any]:
    """Join the results of all files, in their order, into the stage's output."""
    count = Counter[str]()
    with atomic_folder(target) as partial:
        documents.write_documents(partial, _rows(folder, outcomes, count), rows_per_file=rows_per_file)
        with pq.ParquetWriter(partial / "rejected.parquet", documents.REJECTED, compression="zstd") as rejected:
            for number, outcome in enumerate(outcomes):
                if outcome.rejected:
                    rejected.write_table(
                        pq.read_table(state.rejections_path(folder, number), schema=documents.REJECTED)
                    )
        write_json(partial / "files.json", {"files": [outcome.described() for outcome in outcomes]})
    skipped = sum((Counter(outcome.skipped) for outcome in outcomes), Counter({"repeated": count["repeated"]}))
    return {
        "documents": count["documents"],
        "bytes": count["bytes"],
        "files": len(outcomes),
        "raw_bytes": sum(outcome.bytes for outcome in outcomes),
        "damaged_files": sum(1 for outcome in outcomes if outcome.damage),
        "rejected": sum(outcome.rejected for outcome in outcomes),
        "skipped": {reason: number for reason, number in sorted(skipped.items()) if number},
    }


def _rows(folder: Path, outcomes: Sequence[state.Outcome], count: Counter[str]) -> Iterator[dict[str, Any]]:
    """All documents in order, each `id` once: the same text at the same URL twice is one document. Counts them, their
    UTF-8 bytes, and what was left out."""
    seen: set[bytes] = set()
    for number, outcome in enumerate(outcomes):
        if not outcome.documents:
            continue
        for batch in pq.ParquetFile(state.documents_path(folder, number)).iter_batches(1024):
            for row in batch.to_pylist():
                key = bytes.fromhex(row["id"])
                if key in seen:
                    count["repeated"] += 1
                    continue
                seen.add(key)
                count["documents"] += 1
                count["bytes"] += len(row["text"].encode())
                yield row


if __name__ == "__main__":
    run_stage(ingest, "ingest", keys=lambda settings: settings.sources)
