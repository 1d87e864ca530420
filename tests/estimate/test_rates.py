"""Rates: runs of this checkout come before the committed table."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptoss.config.cluster import load_cluster
from gptoss.config.extensions import READERS
from gptoss.estimate import rates
from gptoss.tracking import mlflow_client


def test_the_table_has_rates_for_every_format_and_stage(workspace: Path) -> None:
    for format_ in READERS:
        assert (
            rates.table()["ingest", format_].bytes_per_second > 0 and rates.table()["curate", format_].output_ratio <= 1
        )
    assert {stage for stage, _ in rates.table()} == set(rates.INPUT)
    assert "Measured" in rates.TABLE.read_text()


def make_run(stage: str, seconds: float, cluster: str = "local", **metrics: float) -> Any:
    tags = {"gptoss.stage": stage, "gptoss.cluster": cluster}
    info = SimpleNamespace(run_id="f00dcafe" * 4, start_time=0, end_time=int(1000 * seconds))
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics=metrics))


def test_runs_of_this_checkout_come_before_the_table(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = make_run("ingest@web", 100, raw_bytes=1e9, bytes=2e8, documents=50_000, files=10)
    small = make_run("ingest@web", 10, raw_bytes=1e6, bytes=5e5, documents=100, files=10)
    other = make_run("ingest@gone", 1, raw_bytes=1e12, bytes=1e12, documents=1)
    Path("mlflow.db").touch()
    monkeypatch.setattr(rates, "_finished", lambda _: [small, big, other, make_run("pretrain", 9)])
    known = rates.Rates({"web": "warc"})
    rate = known.of("ingest", "warc", 1e10)
    assert rate.bytes_per_second == 1e9 / 100 / load_cluster("local").data_workers
    assert (rate.output_ratio, rate.document_bytes) == (0.2, 4000) and "f00dcafe on local" in rate.origin
    monkeypatch.setattr(rates, "_finished", lambda _: [small])
    known = rates.Rates({"web": "warc"})
    assert known.of("ingest", "warc", 1e10).origin == "table", "a megabyte says nothing of ten gigabytes"
    assert known.of("ingest", "warc", 5e6).bytes_per_second == 1e5, "but something of five megabytes"


def test_an_mlflow_that_does_not_answer_is_reported(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rates.measured_rates({}) == ([], "no runs in this checkout yet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert rates.measured_rates({})[1] == "MLflow at http://127.0.0.1:9 does not answer"
    assert not Path("mlflow.db").exists() and mlflow_client.tracking_uri().startswith("http")
