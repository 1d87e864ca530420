"""MLflow only observes the pipeline: a run does not fail when MLflow stops answering."""

from __future__ import annotations

import socket

import pytest
from mlflow import MlflowClient

from gptoss.pipeline.pipeline_run import NO_PARENT, Parent, close_parent


def test_an_mlflow_that_stops_answering_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    close_parent(Parent(MlflowClient(uri), "0" * 32), failed=False)
    printed = capsys.readouterr().err
    assert printed.startswith(f"MLflow at {uri} is not reachable") and printed.count("\n") == 1
    close_parent(NO_PARENT, failed=True)
