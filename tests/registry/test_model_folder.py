"""A registry version by reference, with a real MLflow store on SQLite."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gptoss.core import checksums
from gptoss.core.atomic_files import write_json
from gptoss.registry.champions import promote_candidate
from gptoss.registry.versions import create_version
from gptoss.tracking.mlflow_run import MlflowRun, stage_run
from gptoss.tracking.provenance import Dependencies
from tests.toy_model import write_toy_model

GATES = {"gates": [{"name": "loads", "passed": True}]}


def scores(value: float) -> dict[str, Any]:
    row = {"suite": "smoke", "task": "mmlu", "metric": "acc", "value": value, "stderr": 0.01, "n": 24}
    return {"bits_per_byte": {"model": 2.0}, "rows": [row | {"template_sha256": "t", "content_sha256": "c"}]}


@pytest.fixture
def published(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return publish(Path("gpt-oss/toy"), seed=0)


def publish(folder: Path, seed: int) -> Path:
    write_toy_model(folder, seed=seed)
    write_json(folder / "gates.json", GATES)
    checksums.add_missing(folder)
    return folder


def register(folder: Path, md5: str, value: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("gptoss.tracking.provenance.output_hash", lambda path: md5)
    with stage_run("register", "gpt-oss-toy", Dependencies("register", {"x": md5}, {})) as run:
        assert isinstance(run, MlflowRun)
        version = create_version(run, "gpt-oss-toy", folder, scores(value))
        assert create_version(run, "gpt-oss-toy", folder, scores(value)).version == version.version
        promote_candidate(run.client, version, 2.0)
        return run.client.get_model_version("gpt-oss-toy", version.version)


@pytest.mark.slow
def test_champion_loads_without_a_second_copy_and_survives_the_next_run(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from gptoss.tracking.mlflow_client import tracking_uri

    first = register(published, "one", 0.5, monkeypatch)
    linked = Path(first.source.removeprefix("file://")) / "model" / "model.safetensors"
    assert linked.samefile(published / "model.safetensors")
    assert first.tags["gptoss.promoted"] == "true"

    shutil.rmtree(published)
    publish(published, seed=1)
    second = register(published, "two", 0.1, monkeypatch)
    assert second.tags["gptoss.promoted"] == "false"
    assert "fell from 0.5000 to 0.1000" in second.tags["gptoss.reasons"]

    mlflow.set_tracking_uri(tracking_uri())
    pipeline = mlflow.transformers.load_model("models:/gpt-oss-toy@champion")
    assert pipeline.model.dtype.__str__() == "torch.float16"
    text = pipeline("The city", max_new_tokens=4, do_sample=False)[0]["generated_text"]
    assert text.startswith("The city")
