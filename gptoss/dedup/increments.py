"""The index of a run, for increments: what later documents are compared with instead of the texts that were kept.

`index.json` says how it was made and what is in it; `signatures-NNNNN.parquet` (signatures.py) and `sets-NNNNN.u64`
(shingle_sets.py) are about the kept documents of part N.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.dedup import DedupConfig
from gptoss.core.atomic_files import atomic_file, read_json, sha256_file, write_json
from gptoss.core.errors import DataError, UserError
from gptoss.dedup.corpus import Part
from gptoss.dedup.shingle_sets import copy_sets
from gptoss.dedup.signatures import signature_writer
from gptoss.executor.tasks import Result, run_tasks

if TYPE_CHECKING:
    from gptoss.dedup.find_duplicates import DedupDecisions

FORMAT = 1
"""Raised when signatures of the same text change."""


def known_parts(shape: DedupConfig, seed: int, first: int) -> list[Part]:
    """The parts of all indexes in `dedup.known`; their positions start at `first`. Raises `UserError` for a folder
    that is no index or was made with other settings, `DataError` for one that is not whole."""
    parts: list[Part] = []
    for folder in map(Path, shape.known):
        said = _description(folder)
        wanted = description(shape, seed)
        if differing := [key for key, value in wanted.items() if said.get(key) != value]:
            raise UserError(
                f"dedup.known: {folder} was made with "
                + ", ".join(f"{key} {said.get(key)} (now {wanted[key]})" for key in differing),
                "compare with the settings that made it, or make that run again with these",
            )
        for name, part in sorted(said["parts"].items()):
            signatures, sets = folder / f"signatures-{name}.parquet", folder / f"sets-{name}.u64"
            _check_sizes({signatures: part["signature_bytes"], sets: part["set_bytes"]})
            parts.append(Part(str(signatures), str(sets), first, part["documents"], True, part["sha256"]))
            first += part["documents"]
    return parts


def _check_sizes(files: dict[Path, int]) -> None:
    for path, size in files.items():
        found = path.stat().st_size if path.exists() else 0
        if found != size:
            raise DataError(
                f"dedup.known: {path} has {found} bytes, its index.json says {size}",
                "copy the whole folder `data/deduped/index` again, or make it again",
            )


def _description(folder: Path) -> dict[str, Any]:
    if not (folder / "index.json").exists():
        raise UserError(
            f"dedup.known: {folder} holds no index.json",
            "name the folder `data/deduped/index` of a run with `dedup.index: true`, wherever it lies now",
        )
    return dict(read_json(folder / "index.json"))


def description(shape: DedupConfig, seed: int) -> dict[str, int]:
    """What two runs must share for their signatures to be comparable."""
    return {"format": FORMAT, "ngram": shape.ngram, "bands": shape.bands, "rows": shape.rows, "seed": seed}


def index_part(
    signatures: str, sets: str, count: int, removed: str, target_signatures: str, target_sets: str
) -> Result:
    """A task: signatures and shingle sets of the documents of a part that are kept. `removed`: the table of the removed
    rows (outputs.py)."""
    kept = np.ones(count, dtype=np.bool_)
    kept[np.asarray(pq.read_table(removed, columns=["row"]).column("row"))] = False
    table = pq.ParquetFile(signatures)
    with (
        atomic_file(Path(target_signatures)) as partial,
        signature_writer(partial, table.schema_arrow) as writer,
    ):
        row = 0
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            writer.write_table(rows.filter(pa.array(kept[row : row + rows.num_rows])))
            row += rows.num_rows
    copy_sets(Path(sets), count, np.flatnonzero(kept), Path(target_sets))
    return {
        "documents": int(kept.sum()),
        "signature_bytes": Path(target_signatures).stat().st_size,
        "set_bytes": Path(target_sets).stat().st_size,
        "sha256": sha256_file(Path(target_signatures)),
    }


def write_index(fate: DedupDecisions, fates: Sequence[Path], shape: DedupConfig, seed: int, state: Path) -> list[Path]:
    """Make the index of the kept documents, given the tables of removed rows; returns its files."""
    folder = state / "index"
    folder.mkdir(parents=True, exist_ok=True)
    new = [part for part in fate.corpus.parts if not part.known]
    names = [f"{number:05d}" for number in range(len(new))]
    files = [(folder / f"signatures-{name}.parquet", folder / f"sets-{name}.u64") for name in names]
    tasks = [
        {"signatures": part.signatures, "sets": part.sets, "count": part.count, "removed": str(removed),
         "target_signatures": str(signatures), "target_sets": str(sets)}
        for part, removed, (signatures, sets) in zip(new, fates, files, strict=True)
    ]  # fmt: skip
    work = sum(Path(part.sets).stat().st_size for part in new)
    results = run_tasks("dedup_index", index_part, tasks, state, input_bytes=work, releases_gil=True)
    made = dict(zip(names, results, strict=True))
    write_json(folder / "index.json", description(shape, seed) | {"parts": made})
    return [folder / "index.json", *(file for pair in files for file in pair)]
