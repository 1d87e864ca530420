"""MLflow runs: a killed attempt is continued; an unreachable server never stops a stage and never loses anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptoss.pipeline.prefect_environment import answers
from gptoss.tracking import mlflow_client, mlflow_run, outbox
from gptoss.tracking.mlflow_client import connect
from gptoss.tracking.mlflow_run import PARENT_RUN, MlflowRun, StageRun, stage_run
from gptoss.tracking.provenance import Dependencies
from tests.conftest import ROOT
from tests.training_runs import free_port


def dependencies(value: str) -> Dependencies:
    return Dependencies("dedup", {"data/curated": value}, {"dedup.bands": 14})


@pytest.fixture(autouse=True)
def _in_a_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_two_threads_can_import_mlflow_at_once() -> None:
    """The stage's thread and that of its outbox start with different submodules."""
    program = (
        "import threading\n"
        "from gptoss.registry.versions import registry_errors\n"
        "from gptoss.tracking.mlflow_run import send\n"
        "entry = {'begin': {'experiment': 'test', 'stage': 'register', 'parent': None}, 'fingerprint': 'aa'}\n"
        "sender = threading.Thread(target=send, args=([entry], None))\n"
        "sender.start()\n"
        "with registry_errors(): pass\n"
        "sender.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, stderr=subprocess.PIPE
    )
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr


def test_runs_nest_have_their_inputs_and_an_unfinished_one_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    client, experiment = connect("test")
    parent = client.create_run(experiment).info.run_id
    monkeypatch.setenv(PARENT_RUN, parent)

    killed = stage_run("dedup", "test", dependencies("aa"))
    first = killed.__enter__()  # left only at the end of the test, as after SIGKILL
    assert isinstance(first, MlflowRun)
    first.log_metrics({"loss": 2.0}, step=1, cursor=[0, 1])
    first_id = first.run_id
    first.outbox.close(remove=False)

    with stage_run("dedup", "test", dependencies("aa")) as again:
        assert isinstance(again, MlflowRun) and again.run_id == first_id
        assert again.last_cursor() == [0, 1]
        again.log_metrics({"loss": 1.0}, step=2)
    with stage_run("dedup", "test", dependencies("bb")) as other:
        assert isinstance(other, MlflowRun) and other.run_id != first_id
        other_id = other.run_id
        other.log_table("evaluation/samples.table.json", {"item": ["0", "1"], "confidence": [0.5, None]})
    table = client.load_table(experiment, "evaluation/samples.table.json", run_ids=[other_id])
    assert table["item"].astype(str).tolist() == ["0", "1"] and table["confidence"].tolist()[0] == 0.5
    with stage_run("dedup", "test", dependencies("aa")) as later:  # the first has finished: a new run
        assert isinstance(later, MlflowRun) and later.run_id != first_id

    run = client.get_run(first_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["dep/data/curated"] == "aa"
    assert run.data.params["dedup.bands"] == "14"
    with pytest.raises(ValueError, match="closed"):
        killed.__exit__(None, None, None)
    assert [(m.step, m.value) for m in client.get_metric_history(first_id, "loss")] == [(1, 2.0), (2, 1.0)]


def test_a_failed_run_is_marked_failed_and_continued_by_the_next_attempt() -> None:
    with pytest.raises(RuntimeError), stage_run("dedup", "test", dependencies("aa")) as run:
        raise RuntimeError
    client, _ = connect("test")
    assert isinstance(run, MlflowRun)
    failed = run.outbox.run_id
    assert client.get_run(failed).info.status == "FAILED"
    with stage_run("dedup", "test", dependencies("aa")) as again:
        assert isinstance(again, MlflowRun) and again.run_id == failed
    assert client.get_run(failed).info.status == "FINISHED"


@pytest.mark.parametrize("unreachable", [False, True])
def test_a_stage_retried_beside_another_one_is_continued(unreachable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError), stage_run("curate@a", "test", dependencies("aa")) as failed:
        failed.log_metrics({"loss": 1.0}, cursor=7)
        raise RuntimeError
    assert isinstance(failed, MlflowRun) and failed.run_id is not None
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 0.5)
    if unreachable:
        monkeypatch.setattr(mlflow_client, "new_client", lambda: 1 / 0)
    with stage_run("curate@b", "test", dependencies("bb")) as beside:
        assert isinstance(beside, MlflowRun) and beside.reached() is not unreachable
        time.sleep(0.5)  # the leftovers are being sent
        with stage_run("curate@a", "test", dependencies("aa")) as again:
            assert isinstance(again, MlflowRun)
            assert again.last_cursor() == 7 and again.outbox.run_id == failed.run_id


def test_two_processes_of_one_stage_do_not_share_a_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_run, "LOCK_SECONDS", 0.3)
    with stage_run("dedup", "test", dependencies("aa")), stage_run("dedup", "test", dependencies("aa")) as second:
        assert type(second) is StageRun
    assert "is not tracked" in capsys.readouterr().err


@pytest.mark.slow
def test_a_server_that_restarts_gets_every_metric_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real server: down when the stage starts, then up, killed in the middle, and down when the stage ends. The next
    stage sends what is left, including the artifact."""
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 1.0)
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 2.0)
    with stage_run("pretrain", "test", dependencies("aa")) as run:
        assert isinstance(run, MlflowRun)
        for step in range(300):
            run.log_metrics({"loss": float(step)}, step=step)
        server = serve(port)
        assert run.outbox.wait_until_sent(patience=120)
        first_id = run.outbox.run_id
        for step in range(300, 1500):
            run.log_metrics({"loss": float(step)}, step=step)
            if step == 900:
                stop(server)
        Path("plot.png").write_bytes(b"plot")
        run.log_artifact(Path("plot.png"))
    assert "the next stage sends what is left" in capsys.readouterr().err
    server = serve(port)
    try:
        with stage_run("publish", "test", dependencies("bb")) as other:
            assert isinstance(other, MlflowRun) and other.run_id != first_id
        client, _ = connect("test")
        history = client.get_metric_history(first_id, "loss")
        assert [(point.step, point.value) for point in history] == [(step, float(step)) for step in range(1500)]
        assert client.get_run(first_id).info.status == "FINISHED"
        assert [file.path for file in client.list_artifacts(first_id)] == ["plot.png"]
        assert list((Path(".runs") / "outbox").iterdir()) == []
    finally:
        stop(server)


def serve(port: int) -> subprocess.Popen[bytes]:
    """An MLflow server with a SQLite store in this folder."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
         "--backend-store-uri", "sqlite:///server.db", "--default-artifact-root", Path("artifacts").resolve().as_uri()],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not answers(f"http://127.0.0.1:{port}/health"):
        assert server.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    return server


def stop(server: subprocess.Popen[bytes]) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
