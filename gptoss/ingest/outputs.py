"""The output of the stage from what the reading tasks wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from gptoss.core.atomic_files import assembled_folder, write_json
from gptoss.executor.tasks import run_tasks
from gptoss.ingest import repartition
from gptoss.ingest.outcome import FileOutcome
from gptoss.ingest.read_task import documents_path, rejections_path


def write_outputs(
    target: Path, state: Path, tables: Sequence[tuple[str, int]], outcomes: Sequence[FileOutcome], rows_per_file: int
) -> None:
    """Write the output folder `target` from `tables` (the stem and the number of documents of each reading task). Files
    in the making are in `state`. Raises `RuntimeError` when rows are lost or duplicated."""
    documents = [(documents_path(stem), rows) for stem, rows in tables]
    files = repartition.document_files(documents, rows_per_file, state / "files")
    input_bytes = sum(path.stat().st_size for path, _ in documents)
    tasks = repartition.write_tasks(files)
    # Threads suffice: Arrow releases the GIL while it decodes and encodes Parquet.
    run_tasks("repartition", repartition.write_file, tasks, state, input_bytes=input_bytes, releases_gil=True)
    # Rejections are few, so a single process writes them.
    rejections = state / "rejected.parquet"
    rejected = repartition.write_rejections([rejections_path(stem) for stem, _ in tables], rejections)
    _check_rows(sum(pq.read_metadata(file.path).num_rows for file in files), rejected, outcomes)
    write_json(state / "files.json", {"files": [outcome.entry() for outcome in outcomes]})
    # Files are linked or moved into the output, which appears under its name only when it is complete.
    with assembled_folder(target) as add:
        for number, file in enumerate(files):
            add(f"documents-{number:05d}.parquet", file.path)
        add("rejected.parquet", rejections)
        add("files.json", state / "files.json")


# What was counted while reading must be what is in the files: a bug in between would lose text in silence.
def _check_rows(documents: int, rejected: int, outcomes: Sequence[FileOutcome]) -> None:
    counted = sum(outcome.documents for outcome in outcomes), sum(outcome.total_rejected for outcome in outcomes)
    if (documents, rejected) != counted:
        raise RuntimeError(f"{documents} documents and {rejected} rejections were written, but {counted} counted")
