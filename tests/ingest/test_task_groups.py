"""How raw files are grouped into tasks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.ingest import task_groups
from gptoss.sources.file_versions import with_versions
from gptoss.sources.resolve_urls import RawFile


def test_small_local_files_share_a_task_and_large_ones_do_not(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SourceConfig(format="mediawiki", urls=("x",), license="L", language="en")
    monkeypatch.setattr(task_groups, "MAX_BYTES", 1000)
    names = [f"{number:03d}.txt" for number in range(150)]
    for number, name in enumerate(names):
        Path(name).write_bytes(b"x" * (990 if number == 100 else 10))
    raw_files = [RawFile(name, name) for name in names]
    files = with_versions(raw_files)
    before = task_groups.reading_tasks(files, Path("state"), "sample", source)
    os.utime("120.txt", ns=(1, 1))
    after = task_groups.reading_tasks(with_versions(raw_files), Path("state"), "sample", source)
    assert [len(task["files"]) for task in before] == [64, 36, 2, 48]
    assert [file["url"] for task in before for file in task["files"]] == names
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, True, False]
    assert len({task["stem"] for task in before + after}) == 5
