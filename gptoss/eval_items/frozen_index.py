"""`data/benchmarks/index.json`: the files of frozen items, and the tasks that have none with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.eval_items.suites import Suite

FileEntry = dict[str, Any]
"""One file of items: `suite`, `task`, `subset`, `split`, `role` (`evaluated` or `fewshot`), `path`, `rows` and
`sha256`."""


# `benchmarks` writes it, `evaluate` and `gptoss baseline` read it; the lists may grow while it is written.
@dataclass(frozen=True)
class FrozenIndex:
    """The content of `index.json`."""

    items: list[FileEntry]
    missing: list[dict[str, str]]

    def files(self, suite: Suite, task: str) -> list[FileEntry]:
        """The files with the items that a task asks."""
        return [entry for entry in self.items if (entry["suite"], entry["task"]) == (suite.name, suite.source(task))]

    def reason_missing(self, suite: Suite, task: str) -> str | None:
        """Why the items of a task could not be frozen; None if they were."""
        key = (suite.name, suite.source(task))
        return next((entry["reason"] for entry in self.missing if (entry["suite"], entry["task"]) == key), None)


def read_index() -> FrozenIndex:
    """Read the index. Raises `UserError` if no items were frozen."""
    path = paths.BENCHMARKS / "index.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist", "run `dvc repro benchmarks`")
    return FrozenIndex(**read_json(path))
