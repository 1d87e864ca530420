"""MLflow observes: a killed attempt is continued, an unreachable server never stops a stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.provenance import Dependencies
from stages.tracking import PARENT_RUN, MlflowRun, StageRun, connect, stage_run


def dependencies(value: str) -> Dependencies:
    return Dependencies("dedup", {"data/curated": value}, {"dedup.bands": 14})


@pytest.fixture(autouse=True)
def _in_a_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_runs_nest_carry_their_inputs_and_an_unfinished_one_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    client, experiment = connect("test")
    parent = client.create_run(experiment).info.run_id
    monkeypatch.setenv(PARENT_RUN, parent)

    killed = stage_run("dedup", "test", dependencies("aa"))
    first = killed.__enter__()  # never left: as after SIGKILL
    first.metrics({"loss": 2.0}, step=1)

    with stage_run("dedup", "test", dependencies("aa")) as again:
        assert again.run_id == first.run_id
        again.metrics({"loss": 1.0}, step=2)
    with stage_run("dedup", "test", dependencies("bb")) as other:
        assert other.run_id != first.run_id
    with stage_run("dedup", "test", dependencies("aa")) as later:  # the first is finished: a new run
        assert later.run_id != first.run_id

    run = client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["dep/data/curated"] == "aa"
    assert run.data.params["dedup.bands"] == "14"
    assert [(m.step, m.value) for m in client.get_metric_history(first.run_id, "loss")] == [(1, 2.0), (2, 1.0)]


def test_a_failed_stage_is_failed() -> None:
    with pytest.raises(RuntimeError), stage_run("dedup", "test", dependencies("aa")) as run:
        raise RuntimeError
    client, _ = connect("test")
    assert client.get_run(run.run_id).info.status == "FAILED"


def test_without_mlflow_the_stage_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with stage_run("dedup", "test", dependencies("aa")) as run:
        assert type(run) is StageRun
        run.metrics({"loss": 1.0})
    assert "goes on without it" in capsys.readouterr().err


def test_mlflow_failing_in_the_middle_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with stage_run("dedup", "test", dependencies("aa")) as run:
        assert isinstance(run, MlflowRun)
        working, run.client = run.client, None
        run.metrics({"loss": 1.0})
        run.metrics({"loss": 2.0})
        run.client = working
    assert capsys.readouterr().err.count("did not take what dedup logged") == 1
