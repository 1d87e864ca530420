"""Document tables for tests: rows written as the data stages write them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from gptoss.tables.documents import DOCUMENT, write_table


def write_documents(
    folder: Path, rows: Iterable[dict[str, Any]], *, schema: pa.Schema = DOCUMENT, rows_per_file: int = 50_000
) -> None:
    """Write `folder/documents-00000.parquet` …, at least one file, perhaps without rows."""
    values = list(rows)
    for number, start in enumerate(range(0, max(1, len(values)), rows_per_file)):
        part = pa.Table.from_pylist(values[start : start + rows_per_file], schema=schema)
        write_table(folder / f"documents-{number:05d}.parquet", part)
