"""The facts: a pure function of what the stages wrote, counted from their tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.report import evaluation, facts, tables
from gptoss.tracking.mlflow_run import StageRun
from stages.report import report
from tests.report import inputs


def test_facts_are_a_pure_function_of_the_inputs(made: Settings) -> None:
    """Made twice, also with other times in MLflow and on another day: equal bytes; and nothing of the machine in it."""
    before = facts.PATH.read_bytes()
    for path in paths.DEDUPED.iterdir():
        path.touch()
    report(made, StageRun("report", "another"))
    assert facts.PATH.read_bytes() == before
    assert str(Path.cwd()) not in before.decode()


def test_another_machine_has_the_same_facts(made: Settings, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same inputs made again in another folder: equal bytes."""
    before = facts.PATH.read_bytes()
    (workspace / "elsewhere").mkdir()
    monkeypatch.chdir(workspace / "elsewhere")
    inputs.everything(made)
    report(made, StageRun("report"))
    assert facts.PATH.read_bytes() == before


def test_the_funnel_is_counted_from_the_tables(made: Settings) -> None:
    found = json.loads(facts.PATH.read_text())
    row = {one["name"]: one for one in tables.funnel(found)}
    assert row["gutenberg"]["ingested"]["documents"] == 24
    assert row["gutenberg"]["curated"]["documents"] == 20
    assert row["all"]["clean"]["documents"] == 53
    assert row["all"]["raw"] == {"files": 2, "bytes": 2 * 812_345, "damaged": 0, "rejected": 10}
    texts = [one["text"] for one in inputs.corpus_rows(paths.CLEAN)]
    assert row["all"]["clean"]["bytes"] == sum(len(text.encode()) for text in texts)


def test_scores_are_compared_with_guessing() -> None:
    assert evaluation.verdict({"value": 0.30, "stderr": 0.1}, 0.25) == "at"
    assert evaluation.verdict({"value": 0.50, "stderr": 0.01}, 0.25) == "above"
    assert evaluation.verdict({"value": 0.10, "stderr": 0.01}, 0.25) == "below"
    assert evaluation.verdict({"value": 0.10, "stderr": 0.01}, None) == ""


def test_one_character_of_several_tokens_stays_whole(made: Settings) -> None:
    cut = facts.pieces("naïve “day”")
    assert "".join(text for text, _ in cut) == "naïve “day”"
    assert ["ï", 2] in cut
