"""Read all raw files of a source in tasks, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gptoss.config.source import SourceConfig
from gptoss.executor.tasks import run_tasks
from gptoss.ingest.outcome import FileOutcome
from gptoss.ingest.read_task import read_files
from gptoss.ingest.task_groups import input_bytes, reading_tasks
from gptoss.sources.file_versions import VersionedFile


def read_source(
    files: Sequence[VersionedFile], source: str, config: SourceConfig, state: Path
) -> tuple[list[tuple[str, int]], list[FileOutcome]]:
    """Read `files` into tables in `state`. Returns the stem and the number of documents of each task's tables, and the
    outcome of each file, both in the order of the files."""
    tasks = reading_tasks(files, state, source, config)
    results = run_tasks("read", read_files, tasks, state, input_bytes=input_bytes(files))
    tables, outcomes = [], []
    for task, result in zip(tasks, results, strict=True):
        of_task = [FileOutcome(**outcome) for outcome in result["outcomes"]]
        tables.append((task["stem"], sum(outcome.documents for outcome in of_task)))
        outcomes.extend(of_task)
    return tables, outcomes
