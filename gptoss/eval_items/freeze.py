"""Write the items of suites as Parquet, with an index and the texts that decontamination searches for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from gptoss.core.atomic_files import sha256_file, write_json
from gptoss.core.errors import DataError
from gptoss.eval_items import pins
from gptoss.eval_items.formats import FORMATS
from gptoss.eval_items.frozen_index import FileEntry, FrozenIndex
from gptoss.eval_items.item_format import Row
from gptoss.eval_items.items import item_id, spread
from gptoss.eval_items.sources import Absent, Reader
from gptoss.eval_items.suites import Suite
from gptoss.tables.documents import write_table

# Rows kept of a few-shot split, spread evenly: examples are drawn from these, whatever the number of items.
FEWSHOT_POOL = 128

# `large_string`: with 32-bit offsets a column of long passages could not exceed 2 GiB.
TEXTS = pa.schema({"suite": pa.string(), "task": pa.string(), "item": pa.string(), "text": pa.large_string()})


class Split(NamedTuple):
    """One split of a task to freeze."""

    subset: str
    name: str
    role: str
    """`evaluated` or `fewshot`."""
    rows: list[Row]


@dataclass
class ItemWriter:
    """Freezes suites into a folder."""

    folder: Path
    pins: pins.Pins
    # Lists, not files: items of all suites are tens of megabytes, and nothing is published before all are read.
    index: FrozenIndex = field(default_factory=lambda: FrozenIndex([], []))
    texts: list[dict[str, str]] = field(default_factory=list)

    def add(self, suite: Suite, read: Reader) -> None:
        """Freeze the tasks of a suite. A task is frozen with all its subsets, or listed as missing."""
        for name, task in suite.tasks.items():
            if task.items_of:
                continue  # it reads the files of that task
            try:
                # Every split is read before the first is written, so that a task is never frozen in part.
                splits = list(_splits(suite, name, read))
            except Absent as reason:
                self.index.missing.append({"suite": suite.name, "task": name, "reason": str(reason)})
                continue
            for split in splits:
                self._write(suite, name, split)

    def _write(self, suite: Suite, task: str, split: Split) -> None:
        """Write one split and enter it in the index."""
        subset, rows, item_format = split.subset, split.rows, FORMATS[suite.format_name(task)]
        path = Path(suite.name) / task / ("" if subset == "default" else subset) / f"{split.name}.parquet"
        entry: FileEntry = {
            "suite": suite.name,
            "task": task,
            "subset": subset,
            "split": split.name,
            "role": split.role,
            "path": path.as_posix(),
            "rows": len(rows),
        }
        # Few-shot rows are a sample whose content depends on `FEWSHOT_POOL`, so only evaluated splits are pinned.
        if split.role == "evaluated":
            entry["content_sha256"] = pins.verify(self.pins, f"{suite.name}/{task}/{subset}/{split.name}", rows)
            self.texts += [
                {
                    "suite": suite.name,
                    "task": task,
                    "item": item_id(subset, position),
                    "text": item_format.contamination_text(row),
                }
                for position, row in enumerate(rows)
            ]
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_table(self.folder / path, pa.Table.from_pylist(rows, schema=item_format.schema))
        entry["sha256"] = sha256_file(self.folder / path)
        self.index.items.append(entry)

    def finish(self) -> None:
        """Write `texts.parquet` and `index.json`, and print what is missing."""
        write_table(self.folder / "texts.parquet", pa.Table.from_pylist(self.texts, schema=TEXTS))
        write_json(self.folder / "index.json", asdict(self.index))
        # Printed as well: a missing benchmark is not an error, but a person should see it before a long run.
        for absent in self.index.missing:
            print(f"{absent['suite']}/{absent['task']} is missing: {absent['reason']}")

    def metrics(self) -> dict[str, Any]:
        """`{"missing": tasks, SUITE: {TASK: evaluated items}}`."""
        counts: dict[str, Any] = {"missing": len(self.index.missing)}
        for entry in self.index.items:
            if entry["role"] == "evaluated":
                counts.setdefault(entry["suite"], Counter())[entry["task"]] += entry["rows"]
        return counts


def _splits(suite: Suite, name: str, read: Reader) -> Iterator[Split]:
    """Everything a task needs. Raises `Absent`, `DataError`."""
    task = suite.tasks[name]
    for subset in task.subsets:
        evaluated = read(suite.format_name(name), task, subset, task.evaluated)
        if not evaluated:
            raise DataError(
                f"{name}: the {task.evaluated} split ({subset}) has no items", "replace its file with an intact copy"
            )
        yield Split(subset, task.evaluated, "evaluated", evaluated)
        if task.shots and (pool := _fewshot_split(suite, name, subset, read, len(evaluated))):
            yield pool


def _fewshot_split(suite: Suite, name: str, subset: str, read: Reader, evaluated: int) -> Split | None:
    """The first few-shot split that exists and has enough items. None if that is the evaluated split itself, which
    needs one item more than shots, since an item is never its own example."""
    # Every reason is collected: the row of `missing` then says why none of the splits was good enough.
    task, reasons = suite.tasks[name], []
    for split in task.fewshot:
        if split == task.evaluated and evaluated > task.shots:
            # Nothing is frozen twice: `evaluate` draws examples from the evaluated file.
            return None
        try:
            rows = read(suite.format_name(name), task, subset, split)
        except Absent as reason:
            reasons.append(str(reason))
            continue
        if len(rows) >= task.shots:
            return Split(subset, split, "fewshot", [rows[index] for index in spread(len(rows), FEWSHOT_POOL)])
        reasons.append(f"the {split} split has {len(rows)} items for {task.shots} shots")
    raise Absent(f"no few-shot examples: {'; '.join(reasons)}")
