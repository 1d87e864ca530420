"""The index of a run, for increments: what later documents are compared with instead of the texts that were kept.

`index.json` says how it was made; `signatures-NNNNN.parquet` (signatures.py) and `sets-NNNNN.u64` (shingle_sets.py)
are about the kept documents of part N.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.dedup.corpus import Part
from stages.dedup.shingle_sets import copy_sets
from stages.dedup.signatures import signature_writer
from stages.engine.tasks import Result, run_tasks
from stages.errors import UserError
from stages.settings import Dedup
from stages.storage import atomic_file, read_json, write_json

if TYPE_CHECKING:
    from stages.dedup.labels import Fate

FORMAT = 1
"""Raised when signatures of the same text change."""


def known_parts(shape: Dedup, seed: int, first: int) -> list[Part]:
    """The parts of all indexes in `dedup.known`; their positions start at `first`. Raises `UserError` for a folder
    that is no index or was made with other settings."""
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
        for name, count in sorted(said["parts"].items()):
            signatures, sets = folder / f"signatures-{name}.parquet", folder / f"sets-{name}.u64"
            parts.append(Part(str(signatures), str(sets), first, count, True))
            first += count
    return parts


def _description(folder: Path) -> dict[str, Any]:
    if not (folder / "index.json").exists():
        raise UserError(
            f"dedup.known: {folder} holds no index.json",
            "name the folder `data/deduped/index` of a run with `dedup.index: true`, wherever it lies now",
        )
    return dict(read_json(folder / "index.json"))


def description(shape: Dedup, seed: int) -> dict[str, int]:
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
    return {"documents": int(kept.sum())}


def write_index(fate: Fate, fates: Sequence[Path], shape: Dedup, seed: int, state: Path) -> list[Path]:
    """Make the index of the kept documents, given the tables of removed rows; returns its files."""
    folder = state / "index"
    folder.mkdir(parents=True, exist_ok=True)
    new = [part for part in fate.corpus.parts if not part.known]
    files = [
        (folder / f"signatures-{number:05d}.parquet", folder / f"sets-{number:05d}.u64") for number in range(len(new))
    ]
    tasks = [
        {"signatures": part.signatures, "sets": part.sets, "count": part.count, "removed": str(removed),
         "target_signatures": str(signatures), "target_sets": str(sets)}
        for part, removed, (signatures, sets) in zip(new, fates, files, strict=True)
    ]  # fmt: skip
    results = run_tasks(
        "dedup_index", index_part, tasks, state, work=sum(Path(part.sets).stat().st_size for part in new)
    )
    counts = {f"{number:05d}": result["documents"] for number, result in enumerate(results)}
    write_json(folder / "index.json", description(shape, seed) | {"parts": counts})
    return [folder / "index.json", *(file for pair in files for file in pair)]
