"""A real MLflow server on loopback, with its database and artifacts in a temporary folder."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

START_SECONDS = 240


@pytest.fixture
def mlflow_server(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address, which stages and flows use through MLFLOW_TRACKING_URI."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = open("server.log", "wb")  # noqa: SIM115 - lives as long as the server
    server = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{workspace / 'server.db'}",
            "--default-artifact-root", (workspace / "artifacts").as_uri(),
        ],
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        _wait(address, server)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address
    finally:
        subprocess.run(["kill", "-KILL", "--", f"-{server.pid}"], check=False)
        server.wait()
        log.close()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except (requests.ConnectionError, requests.Timeout):  # the server may accept before it can answer
            time.sleep(0.3)
    raise RuntimeError(Path("server.log").read_text()[-2000:])
