"""How the documents of the tasks are distributed over files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.ingest import repartition
from gptoss.tables.documents import DOCUMENT, write_table


def test_tables_share_files_and_long_ones_are_cut() -> None:
    tables = [(Path(name), rows) for name, rows in (("a", 4), ("b", 6), ("c", 0), ("d", 1), ("e", 25), ("f", 3))]
    cuts = [[(piece.path, piece.start, piece.stop) for piece in part] for part in repartition.assign_rows(tables, 10)]
    assert cuts == [
        [("a", 0, 4), ("b", 0, 6)], [("d", 0, 1)], [("e", 0, 10)], [("e", 10, 20)], [("e", 20, 25), ("f", 0, 3)],
    ]  # fmt: skip
    files = repartition.document_files(tables, 10, Path("files"))
    assert [file.must_write for file in files] == [True, False, True, True, True]
    assert files[1].path == Path("d")
    assert repartition.assign_rows([(Path("a"), 0)], 10) == [[]]


@pytest.mark.parametrize("rows_per_file", [1, 7, 64, 100, 1000])
def test_files_hold_every_row_once_and_in_order(tmp_path: Path, rows_per_file: int) -> None:
    tables, texts = [], []
    for number, rows in enumerate((130, 0, 3, 65, 1)):
        names = [f"{number}-{row}" for row in range(rows)]
        columns = {field.name: pa.array(names, field.type) for field in DOCUMENT}
        write_table(tmp_path / f"{number}.parquet", pa.table(columns, schema=DOCUMENT))
        tables.append((tmp_path / f"{number}.parquet", rows))
        texts += names
    found = repartition.document_files(tables, rows_per_file, tmp_path / "files")
    for task in repartition.write_tasks(found):
        repartition.write_file(**task)
    files = [pq.read_table(file.path) for file in found]
    assert all(0 < file.num_rows <= rows_per_file and file.schema.equals(DOCUMENT) for file in files)
    assert pa.concat_tables(files)["text"].to_pylist() == texts
