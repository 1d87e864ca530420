"""How raw files share tasks and their documents share parts."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.source import SourceConfig
from gptoss.ingest import repartition, task_groups
from gptoss.sources.resolve_urls import Origin
from gptoss.tables.documents import DOCUMENT, write_table


def test_tables_share_parts_and_long_ones_are_cut() -> None:
    tables = [(Path(name), rows) for name, rows in (("a", 4), ("b", 6), ("c", 0), ("d", 1), ("e", 25), ("f", 3))]
    cuts = [[(piece.path, piece.start, piece.stop) for piece in part] for part in repartition.parts(tables, 10)]
    assert cuts == [
        [("a", 0, 4), ("b", 0, 6)], [("d", 0, 1)], [("e", 0, 10)], [("e", 10, 20)], [("e", 20, 25), ("f", 0, 3)],
    ]  # fmt: skip
    assert [repartition.is_one_table(part) for part in repartition.parts(tables, 10)] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert repartition.parts([(Path("a"), 0)], 10) == [[]]


@pytest.mark.parametrize("rows_per_part", [1, 7, 64, 100, 1000])
def test_packed_parts_hold_every_row_once_and_in_order(tmp_path: Path, rows_per_part: int) -> None:
    tables, texts = [], []
    for number, rows in enumerate((130, 0, 3, 65, 1)):
        names = [f"{number}-{row}" for row in range(rows)]
        columns = {field.name: pa.array(names, field.type) for field in DOCUMENT}
        write_table(tmp_path / f"{number}.parquet", pa.table(columns, schema=DOCUMENT))
        tables.append((tmp_path / f"{number}.parquet", rows))
        texts += names
    found = repartition.parts(tables, rows_per_part)
    for task in repartition.packing_tasks(found, tmp_path):
        repartition.pack(**task)
    files = [pq.read_table(repartition.part_path(found, tmp_path, number)) for number in range(len(found))]
    assert all(0 < file.num_rows <= rows_per_part and file.schema.equals(DOCUMENT) for file in files)
    assert pa.concat_tables(files)["text"].to_pylist() == texts


def test_small_local_files_share_a_task_and_large_ones_do_not(
    workspace: Path, a_source: SourceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_groups, "MAX_BYTES", 1000)
    names = [f"{number:03d}.txt" for number in range(150)]
    for number, name in enumerate(names):
        Path(name).write_bytes(b"x" * (990 if number == 100 else 10))
    origins = [Origin(name, name) for name in names]
    files = task_groups.described(origins)
    assert [len(group) for group in task_groups.groups(files)] == [64, 36, 2, 48]
    assert [file for group in task_groups.groups(files) for file in group] == files
    before = task_groups.reading_tasks(files, Path("state"), "sample", a_source)
    os.utime("120.txt", ns=(1, 1))
    after = task_groups.reading_tasks(task_groups.described(origins), Path("state"), "sample", a_source)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, True, False]
    assert len({task["stem"] for task in before + after}) == 5
