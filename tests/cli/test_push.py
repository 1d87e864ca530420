"""`gptoss push` against a stand-in for the hub on loopback, with the calls that a commit makes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gptoss.core import checksums
from tests.conftest import ROOT


class Hub(BaseHTTPRequestHandler):
    """The three calls of a commit; `received` records requests and bodies."""

    received: dict[str, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received[self.path] = body
        self.received["token"] = self.headers.get("Authorization")
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.answer(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            self.answer(200, {"url": f"http://{self.headers['Host']}/owner/toy"})
        elif "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            self.answer(200, {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in files]})
        else:
            self.answer(200, {"commitUrl": f"http://{self.headers['Host']}/owner/toy/commit/abc", "commitOid": "abc"})

    def answer(self, status: int, content: Any) -> None:
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, Any]]]:
    received: dict[str, Any] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OurHub", (Hub,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(workspace: Path) -> Path:
    folder = Path("gpt-oss/toy")
    (folder / "adapter").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    checksums.add_missing(folder)
    return folder


def push(endpoint: str, token: str = "hf_right", repo: str = "owner/toy") -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "GPTOSS_SIGNING_KEY")
    }
    return subprocess.run(
        [sys.executable, "-m", "gptoss.cli", "push", "--repo", repo, "--model", "gpt-oss/toy"],
        env=environment | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": endpoint, "HF_TOKEN": token},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_the_folder_and_its_signature_are_uploaded_in_one_commit(hub: tuple[str, dict[str, Any]], folder: Path) -> None:
    endpoint, received = hub
    done = push(endpoint)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{endpoint}/owner/toy/commit/abc"
    assert json.loads(received["/api/repos/create"])["visibility"] == "private"
    lines = [json.loads(line) for line in received["/api/models/owner/toy/commit/main"].splitlines()]
    sent = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
    }
    verify_as_documented(sent)
    assert sent.pop("model.sig") == Path("gpt-oss/toy.sig").read_bytes()
    assert sent.pop("signing-key.pub").startswith(b"-----BEGIN PUBLIC KEY-----")
    assert sent == {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def verify_as_documented(sent: dict[str, bytes]) -> None:
    """Run the command of docs/publishing.md on the downloaded files."""
    for name, raw in (sent | {".gitattributes": b"the hub adds it"}).items():
        path = Path("downloaded") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    command = "verify key . --signature model.sig --public_key signing-key.pub --ignore-paths signing-key.pub"
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *command.split()], cwd="downloaded", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_token_and_tampered_bytes_end_in_two_lines(hub: tuple[str, dict[str, Any]], folder: Path) -> None:
    endpoint, received = hub
    refused = push(endpoint, token="hf_wrong")
    assert refused.returncode == 4 and "did not accept gpt-oss/toy" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    received.clear()
    (folder / "model.safetensors").write_bytes(b"others")
    tampered = push(endpoint)
    assert tampered.returncode == 3 and "model.safetensors does not match checksums.sha256" in tampered.stderr
    assert received == {}
