"""Suites: every file is complete, and a new task or suite needs one file only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gptoss.config.settings import Settings
from gptoss.core.errors import UserError
from gptoss.eval_items.formats import FORMATS
from gptoss.eval_items.suites import TaskInfo, load_baselines, load_suite, load_suites, suite_titles, task_infos
from tests.conftest import ROOT
from tests.eval_items.checkout import entry, freeze

ARC_EASY = {
    "format": "arc_challenge",
    "label": "ARC-Easy",
    "evaluated": "test",
    "shots": 0,
    "metric": "acc",
    "protocol": "lm-eval",
    "files": {"test": "evals/smoke/arc_challenge.jsonl"},
}


def write_suite(checkout: Path, tasks: dict[str, Any]) -> None:
    """A suite `science` beside those of the project."""
    shipped = (checkout / "evals" / "suites").resolve()
    (checkout / "evals" / "suites").unlink()
    (checkout / "evals" / "suites").mkdir()
    for path in shipped.iterdir():
        (checkout / "evals" / "suites" / path.name).symlink_to(path)
    suite = {"name": "science", "title": "Science", "limited": True, "bos": "none", "baseline": None, "tasks": tasks}
    (checkout / "evals" / "suites" / "science.yaml").write_text(yaml.safe_dump(suite))


def test_every_task_has_a_prompt_and_a_cited_figure(checkout: Path) -> None:
    baselines = load_baselines("gpt4")
    assert {model: figures["mmlu"].value for model, figures in baselines.models.items()} == {
        "GPT-4": 86.4,
        "GPT-3.5": 70.0,
    }
    suite = load_suite("gpt4")
    for name, task in suite.tasks.items():
        assert Path(f"evals/tasks/{name}.yaml").is_file()
        assert all(figures[suite.source(name)].shots == task.shots for figures in baselines.models.values())
        assert not task.items_of or task.evaluated == suite.tasks[task.items_of].evaluated
    assert len(suite.tasks["mmlu"].subsets) == 57
    assert {suite.source(name) for name in suite.tasks} == load_suite("smoke").tasks.keys()
    assert FORMATS.keys() == load_suite("smoke").tasks.keys() | load_suite("language").tasks.keys()


def test_every_published_figure_names_its_source(checkout: Path) -> None:
    files = sorted(path.stem for path in (ROOT / "evals" / "baselines").glob("*.yaml"))
    for name in files:
        published = load_baselines(name)
        assert published.url.startswith("https://") and published.table and published.date
        for figures in published.models.values():
            assert all(figure.protocol and 0 < figure.value <= 100 for figure in figures.values())
    assert len(files) >= 5


def test_a_new_suite_is_one_file(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    write_suite(checkout, {"arc_easy": ARC_EASY})
    assert settings_with(**{"evaluate.suites": ["science"]}).evaluate.suites == ("science",)
    assert [suite.name for suite in load_suites()] == ["smoke", "science", "language", "gpt4"]
    assert task_infos()["arc_easy"] == TaskInfo("ARC-Easy", 0.25), "its own label, the chance of its format"
    assert suite_titles()["science"] == "Science"
    index = freeze(settings_with, "none")
    assert entry(index, "science", "arc_easy")["sha256"] == entry(index, "smoke", "arc_challenge")["sha256"]


def test_an_unknown_suite_is_refused_with_the_known_names(
    checkout: Path, settings_with: Callable[..., Settings]
) -> None:
    with pytest.raises(UserError, match=r"smok is not a file of evals/suites: choose from gpt4, language, smoke"):
        settings_with(**{"evaluate.suites": ["smok"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "arc"}, "there is no item format arc: set format to one of mmlu, hellaswag"),
        ({"format": None}, "there is no item format arc_easy"),
        ({"items_of": "nothing"}, "items_of is 'nothing', which is not a task of this suite with items"),
        ({"shots": 2}, "shots is 2 but fewshot names no split"),
    ],
)
def test_a_task_that_cannot_be_frozen_is_refused(checkout: Path, changes: dict[str, Any], message: str) -> None:
    write_suite(checkout, {"arc_easy": ARC_EASY | changes})
    with pytest.raises(UserError, match=message):
        load_suite("science")


def test_labels_and_chances_of_shipped_tasks(checkout: Path) -> None:
    infos = task_infos()
    assert infos["hellaswag_letters"] == TaskInfo("HellaSwag, letters", 0.25)
    assert infos["winogrande_letters"] == TaskInfo("WinoGrande, letters", 0.5)
    assert infos["gsm8k"] == TaskInfo("GSM8K", None)
    assert list(infos)[: len(FORMATS)] == list(FORMATS), "formats first, in the order of the report's columns"
