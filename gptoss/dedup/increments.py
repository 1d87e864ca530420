"""The index of a run, for increments: later documents are compared with it instead of with the texts that were kept.

`index.json` records the settings and the sizes of the files; `signatures-NNNNN.parquet` (signatures.py) and
`sets-NNNNN.u64` (shingle_sets.py) describe the kept documents of part N.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.dedup import DedupConfig
from gptoss.core.atomic_files import atomic_file, read_json, sha256_file, write_json
from gptoss.core.errors import DataError, UserError
from gptoss.dedup.corpus import Part
from gptoss.dedup.decisions import DedupDecisions
from gptoss.dedup.outputs import PartOutput
from gptoss.dedup.shingle_sets import copy_shingle_sets
from gptoss.dedup.signatures import signature_writer
from gptoss.executor.tasks import Result, run_tasks

# To be raised when the signatures of the same text change: an older index then cannot be compared any more.
FORMAT = 1
_INDEX = "index.json"


def known_parts(config: DedupConfig, seed: int, first: int) -> list[Part]:
    """The parts of all indexes in `dedup.known`, at positions from `first` on.

    Errors: `UserError` for a folder without an index or with one of other settings; `DataError` for an incomplete one.
    """
    parts: list[Part] = []
    for folder in map(Path, config.known):
        for name, part in sorted(_read_index(folder, index_settings(config, seed))["parts"].items()):
            signatures, sets = _part_files(folder, name)
            # Sizes and not checksums: an index is about 1.4 times as large as its text, and reading all of it would
            # take as long as the comparison.
            for path, size in ((signatures, part["signature_bytes"]), (sets, part["set_bytes"])):
                if (found := path.stat().st_size if path.exists() else 0) != size:
                    raise DataError(
                        f"dedup.known: {path} has {found} bytes, its {_INDEX} says {size}",
                        "copy the whole folder `data/deduped/index` again, or repeat the run that made it",
                    )
            parts.append(Part(str(signatures), str(sets), first, part["documents"], True, part["sha256"]))
            first += part["documents"]
    return parts


def index_settings(config: DedupConfig, seed: int) -> dict[str, int]:
    """What two runs must have in common for their signatures to be comparable."""
    return {"format": FORMAT, "ngram": config.ngram, "bands": config.bands, "rows": config.rows, "seed": seed}


def _read_index(folder: Path, expected: Mapping[str, int]) -> dict[str, Any]:
    if not (folder / _INDEX).exists():
        raise UserError(
            f"dedup.known: {folder} holds no {_INDEX}",
            "give the path of the folder `data/deduped/index` of a run with `dedup.index: true`",
        )
    index: dict[str, Any] = read_json(folder / _INDEX)
    if differing := [key for key, value in expected.items() if index.get(key) != value]:
        raise UserError(
            f"dedup.known: {folder} was made with "
            + ", ".join(f"{key} {index.get(key)} (now {expected[key]})" for key in differing),
            "use the settings that made it, or repeat that run with the present settings",
        )
    return index


def _part_files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"signatures-{name}.parquet", folder / f"sets-{name}.u64"


def write_index_part(
    signatures: str, sets: str, count: int, decisions: str, target_signatures: str, target_sets: str
) -> Result:
    """Task: signatures and shingle sets of the kept documents of a part. `decisions`: the table of removed rows
    (outputs.py)."""
    kept = np.ones(count, dtype=np.bool_)
    kept[np.asarray(pq.read_table(decisions, columns=["row"]).column("row"))] = False
    table = pq.ParquetFile(signatures)
    with (
        atomic_file(Path(target_signatures)) as partial,
        signature_writer(partial, table.schema_arrow) as writer,
    ):
        row = 0
        # Group by group, as a part may have more signatures than fit into memory beside those of other tasks.
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            writer.write_table(rows.filter(pa.array(kept[row : row + rows.num_rows])))
            row += rows.num_rows
    copy_shingle_sets(Path(sets), count, np.flatnonzero(kept), Path(target_sets))
    # The checksum of the signatures also identifies the sets: both follow from the same texts and settings.
    return {
        "documents": int(kept.sum()),
        "signature_bytes": Path(target_signatures).stat().st_size,
        "set_bytes": Path(target_sets).stat().st_size,
        "sha256": sha256_file(Path(target_signatures)),
    }


def write_index(
    decisions: DedupDecisions, outputs: Sequence[PartOutput], config: DedupConfig, seed: int, state: Path
) -> list[Path]:
    """Write the index of the kept documents; returns its files."""
    folder = state / "index"
    folder.mkdir(parents=True, exist_ok=True)
    new_parts = [part for part in decisions.corpus.parts if not part.known]
    names = [f"{number:05d}" for number in range(len(new_parts))]
    targets = [_part_files(folder, name) for name in names]
    tasks = [
        {"signatures": part.signatures, "sets": part.shingle_sets, "count": part.count,
         "decisions": str(output.decisions), "target_signatures": str(signatures), "target_sets": str(sets)}
        for part, output, (signatures, sets) in zip(new_parts, outputs, targets, strict=True)
    ]  # fmt: skip
    size = sum(Path(part.shingle_sets).stat().st_size for part in new_parts)
    results = run_tasks("dedup_index", write_index_part, tasks, state, input_bytes=size, releases_gil=True)
    # Written last: a folder with an index.json is complete.
    parts = dict(zip(names, results, strict=True))
    write_json(folder / _INDEX, index_settings(config, seed) | {"parts": parts})
    return [folder / _INDEX, *(file for pair in targets for file in pair)]
