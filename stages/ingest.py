"""Raw files of one source, in their native format, to documents.

In: `sources.SOURCE` of `params.yaml`: its format (mediawiki, gutenberg, warc, arxiv) and its `urls` (fsspec URLs, local
globs, members of pinned archives in the package registry, lists of further URLs), each optionally with a checksum.
Out: `data/documents/SOURCE/`: `documents-*.parquet`, `rejected.parquet` (every raw record that should have become a
document and could not, with file, place and reason) and `files.json` (every raw file with its SHA-256).
Wrong: what cannot be reached, found, read or verified ends the stage in one message. A damaged file (cut off, corrupt)
gives the documents before the damage; when damaged files or rejected records exceed `ingest.max_reject_fraction`, the
stage fails and writes nothing. A killed stage continues: files that were read are not read again.
From: the readers name their methods: `mediawiki.py`, `gutenberg.py`, `warc.py`, `arxiv.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import assembled_folder, atomic_file, write_json
from gptoss.core.errors import DataError
from gptoss.executor.tasks import run_tasks
from gptoss.formats import catalogue
from gptoss.ingest import read_task, repartition, task_groups
from gptoss.ingest.read_task import Outcome
from gptoss.sources.resolve_urls import expand
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import run_stage

NAMED_IN_ERRORS = 3
"""How many bad files or records an error names."""
WORK_PER_BYTE = 10
"""Raw files are compressed, and a byte of markup costs more to read than a byte of text to copy."""

Read = list[tuple[str, list[Outcome]]]
"""Of each reading task where it wrote, and what came of its files."""


def ingest(settings: Settings, run: StageRun, source: str) -> Mapping[str, Any]:
    """Documents of one source. Returns counts and bytes. Raises `UserError`, `ClusterError`, `DataError`."""
    started = time.monotonic()
    read = read_all(settings, run.state, source)
    check_damage(source, _outcomes(read), settings.ingest.max_reject_fraction)
    write(paths.documents(source), run.state, read, settings.ingest.documents_per_file)
    run.metrics({"seconds": time.monotonic() - started})
    return totals(_outcomes(read))


def read_all(settings: Settings, folder: Path, source: str) -> Read:
    """Read every raw file of the source, many at a time where there are cores."""
    files = task_groups.described(expand(settings.sources[source], settings.seed))
    tasks = task_groups.reading_tasks(files, folder, source, catalogue.prepared(settings.sources[source], folder))
    size = task_groups.known_bytes(files)
    work = None if size is None else size * WORK_PER_BYTE
    results = run_tasks("read", read_task.read_files, tasks, folder, work=work)
    return [
        (task["stem"], [Outcome(**outcome) for outcome in result["outcomes"]])
        for task, result in zip(tasks, results, strict=True)
    ]


def _outcomes(read: Read) -> list[Outcome]:
    return [outcome for _, outcomes in read for outcome in outcomes]


def check_damage(source: str, outcomes: Sequence[Outcome], limit: float) -> None:
    """Raises `DataError` when too much is damaged, or when there is no document at all."""
    damaged = [outcome for outcome in outcomes if outcome.damage]
    rejected = sum(_rejected(outcome) for outcome in outcomes)
    records = sum(outcome.records for outcome in outcomes)
    named = "; ".join(f"{outcome.url}: {outcome.damage}" for outcome in damaged[:NAMED_IN_ERRORS])
    if len(damaged) > limit * len(outcomes):
        raise DataError(
            f"sources.{source}: {_share(len(damaged), len(outcomes), 'files are damaged', limit)}: {named}",
            "fetch the damaged files again, or remove them from sources; raise ingest.max_reject_fraction to accept "
            "what was read before the damage",
        )
    if rejected > limit * records:
        worst = max(outcomes, key=_rejected)
        raise DataError(
            f"sources.{source}: {_share(rejected, records, 'records are rejected', limit)}: {_rejected(worst)} of them "
            f"in {worst.url}, the first at {worst.first_rejection}",
            f"check that sources.{source}.format is the format of this file, mend the file, or raise "
            "ingest.max_reject_fraction",
        )
    if not any(outcome.documents for outcome in outcomes):
        skipped = _summed(outcome.skipped for outcome in outcomes)
        raise DataError(
            f"sources.{source}: {len(outcomes)} files gave no document (skipped: {skipped or 'nothing'})",
            f"check that sources.{source}.format is the format of these files",
        )


def _share(part: int, whole: int, what: str, limit: float) -> str:
    return f"{part} of {whole} {what} ({part} / {whole} = {part / whole:.3f} > ingest.max_reject_fraction = {limit:g})"


def write(target: Path, folder: Path, read: Read, rows_per_part: int) -> None:
    """Make the stage's output of what the reading tasks wrote. Raises `RuntimeError` when rows are lost or doubled."""
    outcomes = _outcomes(read)
    tables = [(read_task.documents_path(stem), sum(outcome.documents for outcome in found)) for stem, found in read]
    parts = repartition.parts(tables, rows_per_part)
    size = sum(path.stat().st_size for path, _ in tables)
    run_tasks("pack", repartition.pack, repartition.packing_tasks(parts, folder), folder, work=size, threads=True)
    with atomic_file(folder / "rejected.parquet") as partial:
        rejected = repartition.join_rejections([read_task.rejections_path(stem) for stem, _ in read], partial)
    write_json(folder / "files.json", {"files": [outcome.described() for outcome in outcomes]})
    files = [repartition.part_path(parts, folder, number) for number in range(len(parts))]
    _check_rows(sum(pq.read_metadata(file).num_rows for file in files), rejected, outcomes)
    with assembled_folder(target) as add:
        for number, file in enumerate(files):
            add(f"documents-{number:05d}.parquet", file)
        add("rejected.parquet", folder / "rejected.parquet")
        add("files.json", folder / "files.json")


def _check_rows(documents: int, rejected: int, outcomes: Sequence[Outcome]) -> None:
    counted = sum(outcome.documents for outcome in outcomes), sum(_rejected(outcome) for outcome in outcomes)
    if (documents, rejected) != counted:
        raise RuntimeError(f"{documents} documents and {rejected} rejections were written, but {counted} counted")


def _rejected(outcome: Outcome) -> int:
    return sum(outcome.rejected.values())


def totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What the stage tells: `records` = `documents` + `rejected` + all of `skipped`."""
    return {
        "records": sum(outcome.records for outcome in outcomes),
        "documents": sum(outcome.documents for outcome in outcomes),
        "bytes": sum(outcome.text_bytes for outcome in outcomes),
        "files": len(outcomes),
        "raw_bytes": sum(outcome.bytes for outcome in outcomes),
        "damaged_files": sum(1 for outcome in outcomes if outcome.damage),
        "rejected": sum(_rejected(outcome) for outcome in outcomes),
        "rejected_by": _summed(outcome.rejected for outcome in outcomes),
        "skipped": _summed(outcome.skipped for outcome in outcomes),
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


if __name__ == "__main__":
    run_stage(ingest, "ingest", keys=lambda settings: settings.sources)
