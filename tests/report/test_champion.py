"""The comparison with the champion, against a real MLflow on SQLite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.report import champion, render
from gptoss.report.run_history import RunHistory
from gptoss.report.svg import SvgFigure
from gptoss.tracking import mlflow_client, provenance

CONNECT = mlflow_client.connect


def sample(item: int, score: float) -> dict[str, Any]:
    return {"suite": "gpt4", "task": "mmlu", "item": str(item), "prompt_sha256": f"q{item}", "scores": {"acc": score}}


def write_samples(path: Path, scores: list[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(sample(n, score)) + "\n" for n, score in enumerate(scores)))
    return path


@pytest.fixture
def registry(workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A champion of the base model whose evaluation MLflow keeps, and a newer present model."""
    monkeypatch.setattr(mlflow_client, "connect", CONNECT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/mlflow.db")  # its store remembers by URI
    monkeypatch.setattr(provenance, "output_hash", lambda _: "new.dir")
    client, experiment = mlflow_client.connect(f"gpt-oss-{settings.name}")
    tags = {"gptoss.stage": "evaluate@base", f"dep/gpt-oss/{settings.name}": "old.dir"}
    run = client.create_run(experiment, tags=tags)
    client.log_artifact(run.info.run_id, str(write_samples(workspace / "old/samples.jsonl", [0.0] * 8)), "evaluation")
    client.set_terminated(run.info.run_id)
    name = f"gpt-oss-{settings.name}"
    client.create_registered_model(name)
    client.create_model_version(name, (workspace / "old").as_uri(), tags={"gptoss.md5": "old.dir"})
    client.set_registered_model_alias(name, "champion", "1")
    write_samples(paths.evaluation("base") / "samples.jsonl", [1.0] * 6 + [0.0] * 2)
    write_json(paths.evaluation("base") / "scores.json", {"rows": [{"suite": "gpt4", "task": "mmlu", "metric": "acc"}]})
    return client


def test_the_present_model_is_compared_with_the_champion_item_by_item(
    registry: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = champion.compare(settings)
    (row,) = found["rows"]
    assert (found["head"], str(found["version"]), row["task"], row["n"]) == ("base", "1", "mmlu", 8)
    assert (row["difference"], row["better_items"], row["worse_items"]) == (0.75, 6, 0)
    assert 0 < row["low"] < 0.75 < row["high"] <= 1
    registry.set_model_version_tag(f"gpt-oss-{settings.name}", "1", "gptoss.md5", "unknown.dir")
    assert champion.compare(settings) == [], "MLflow has no samples of these bytes"
    registry.set_model_version_tag(f"gpt-oss-{settings.name}", "1", "gptoss.md5", "new.dir")
    assert champion.compare(settings) == [], "the champion itself"


def test_the_pages_show_the_comparison(made: Settings) -> None:
    row = {"suite": "gpt4", "task": "mmlu", "metric": "acc", "n": 20, "difference": 0.05, "low": -0.1, "high": 0.2,
           "not_better": 0.3, "better_items": 3, "worse_items": 2}  # fmt: skip
    history = RunHistory(champions=[{"head": "base", "version": "7", "rows": [row]}])
    figures: dict[str, SvgFigure] = {}
    facts = read_json(render.FACTS)
    for page in (render.html(facts, history, figures), render.markdown(facts, history, figures)):
        assert "Base, against version 7, the champion" in page and "+5.0" in page and "-10.0 to +20.0" in page
