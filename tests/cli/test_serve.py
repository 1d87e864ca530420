"""`gptoss serve`, used over HTTP as any OpenAI client would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from gptoss.cli.__main__ import main
from tests.conftest import ROOT
from tests.publish.toy import make_published_base

START_SECONDS = 150


def test_a_folder_without_a_model_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", "nowhere"]) == 2
    assert "there is no model in nowhere" in capsys.readouterr().err


def test_a_registry_that_does_not_answer_is_reported(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("params.yaml").write_text((ROOT / "profiles" / "tiny.yaml").read_text())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["serve"]) == 4
    printed = capsys.readouterr().err
    assert "127.0.0.1:9" in printed and "Traceback" not in printed


@pytest.mark.slow
def test_a_chat_completion_over_http(workspace: Path) -> None:
    folder = make_published_base("toy")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "gptoss.cli", "serve", "--model", str(folder), "--port", str(port)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", server)
        (listed,) = requests.get(f"{address}/v1/models", timeout=100).json()["data"]
        assert listed["id"] == "gpt-oss/toy"
        question = {"model": listed["id"], "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 8}
        answer = requests.post(f"{address}/v1/chat/completions", json=question, timeout=100)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found["object"] == "chat.completion"
        assert found["choices"][0]["message"]["role"] == "assistant"
        assert isinstance(found["choices"][0]["message"]["content"], str)
        assert 0 < found["usage"]["completion_tokens"] <= 8
    finally:
        server.terminate()
        server.wait(timeout=60)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{address}/health", timeout=5)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise AssertionError(f"the server does not answer; its exit code is {server.poll()}")
