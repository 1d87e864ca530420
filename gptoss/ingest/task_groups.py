"""Which raw files one task reads: large ones alone, small ones many at a time.

In: the raw files of a source, in order. Out: for each task its arguments, which identify the bytes it will read: a file
that changed since an earlier attempt makes another task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gptoss.config.source import SourceConfig
from gptoss.sources.file_versions import VersionedFile

# Files per task. A task has a fixed cost (two Parquet files, a result file, scheduling), which is negligible from
# about this many tiny files on.
MAX_FILES = 64
# Bytes of a task of more than one file. Larger groups would leave cores idle at the end of the stage.
MAX_BYTES = 64 * 2**20
# Raw files are compressed, and a byte of markup costs more to parse than a byte of text to copy. `run_tasks` counts in
# bytes of text.
TEXT_BYTES_PER_RAW_BYTE = 10


def reading_tasks(
    files: Sequence[VersionedFile], folder: Path, source: str, config: SourceConfig
) -> list[dict[str, Any]]:
    """Arguments of `read_task.read_files`. Each task writes files that are named after a hash of its arguments, so the
    output of an earlier attempt on other raw files is never mistaken for its own."""
    # Tasks may run on another machine, so their arguments are JSON.
    source_config = config.model_dump(mode="json")
    tasks = []
    for group in _groups(files):
        # The version of each file is part of the arguments only for the sake of this hash and of `run_tasks`, which
        # repeats a task when its arguments have changed.
        raw = [_as_json(file) for file in group]
        digest = hashlib.blake2b(json.dumps([raw, source, source_config]).encode(), digest_size=12).hexdigest()
        tasks.append(
            {"files": raw, "stem": str(folder / "raw" / digest), "source": source, "source_config": source_config}
        )
    return tasks


def _groups(files: Sequence[VersionedFile]) -> Iterator[list[VersionedFile]]:
    """The files in order, in groups of at most `MAX_FILES` and `MAX_BYTES`, or of one file."""
    group: list[VersionedFile] = []
    size = 0
    # Consecutive files only: documents keep the order of the files, which makes the output independent of scheduling.
    for file in files:
        size += max(0, file.bytes)
        # A file that cannot share a task ends the group before it and is a group by itself.
        alone = not file.can_share or bool(group and not group[-1].can_share)
        if group and (alone or len(group) == MAX_FILES or size > MAX_BYTES):
            yield group
            group, size = [], max(0, file.bytes)
        group.append(file)
    if group:
        yield group


def _as_json(versioned: VersionedFile) -> dict[str, Any]:
    archive = versioned.file.archive
    return asdict(versioned.file) | {"archive": archive and str(archive), "version": versioned.version}


def input_bytes(files: Sequence[VersionedFile]) -> int | None:
    """The work of reading all files, in bytes of text for `run_tasks`; None when a size is not known."""
    if any(file.bytes < 0 for file in files):
        return None
    return sum(file.bytes for file in files) * TEXT_BYTES_PER_RAW_BYTE
