"""The history: only of the runs that made the present outputs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.report import render
from gptoss.report.run_history import load_run_history
from gptoss.tracking import mlflow_client, provenance
from tests.report.page import Page


class Client:
    """An MLflow that knows one finished run of a fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def search_runs(self, _: list[str], filter_string: str, **__: Any) -> list[Any]:
        if self.fingerprint not in filter_string or "FINISHED" not in filter_string:
            return []
        info = SimpleNamespace(
            run_id="f00d" * 8, experiment_id="1", start_time=1_700_000_000_000, end_time=1_700_000_252_000
        )
        tags = {"gptoss.git_commit": "c0ffee" * 6, "gptoss.cluster": "local", "gptoss.git_dirty": "false"}
        data = SimpleNamespace(metrics={"tokens_per_second": 9.0, "memory_mib": 100.0, "loss": 2.0}, tags=tags)
        return [SimpleNamespace(info=info, data=data)]

    def get_metric_history(self, _: str, name: str) -> list[Any]:
        return [
            SimpleNamespace(value=value)
            for value in ((16_000.0, 20_000.0, 9.0) if name != "memory_mib" else (200.0, 100.0))
        ]


def test_the_history_is_of_the_run_that_made_the_outputs(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = provenance.recorded("pretrain")
    assert recorded is not None
    monkeypatch.setattr(mlflow_client, "connect", lambda _: (Client(recorded.fingerprint), "1"))
    history = load_run_history(made)
    assert [stage.name for stage in history.stages] == ["ingest@wikipedia", "shards", "pretrain"]
    assert history.run_of("shards") is None
    run = history.run_of("pretrain")
    assert run is not None and run.seconds == 252 and run.started == "2023-11-14 22:13:20 UTC"
    assert run.metrics == {"tokens_per_second": 16_000.0, "memory_mib": 200.0, "loss": 2.0}
    render.render(made)
    text = "".join(Page(render.HTML.read_text()).text)
    assert "4 min 12 s" in text and "16,000 tokens/s" in text and "210 MB per rank" in text and "c0ffee" in text


def test_the_registration_of_an_earlier_run_is_left_out(made: Settings) -> None:
    lock = json.loads(Path("dvc.lock").read_text())
    old = {"cmd": "x", "deps": [{"path": "reports/facts.json", "md5": "0" * 32}]}
    lock["stages"] |= {"register": old, "report": {"cmd": "x", "outs": old["deps"]}}
    Path("dvc.lock").write_text(json.dumps(lock))
    assert {"register", "report"}.isdisjoint(stage.name for stage in load_run_history(made).stages)
