"""A web server of crawl files and small sources, for tests of plans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gptoss.config.source import SourceConfig
from gptoss.config.yaml_sections import check

SIZES = {f"/crawl/{number}.warc.gz": 1000 * (number + 1) for number in range(200)}


class Crawl(BaseHTTPRequestHandler):
    """Answers HEAD with sizes and GET with the list of files only; records the requests."""

    requests: list[tuple[str, str]] = []  # noqa: RUF012 (cleared by the fixture)

    def do_HEAD(self) -> None:
        self.requests.append(("HEAD", self.path))
        self.send_response(200 if self.path in SIZES else 404)
        self.send_header("Content-Length", str(SIZES.get(self.path, 0)))
        self.end_headers()

    def do_GET(self) -> None:
        self.requests.append(("GET", self.path))
        body = gzip.compress("\n".join(path[1:] for path in SIZES).encode()) if self.path == "/warc.paths.gz" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def crawl() -> Iterator[str]:
    Crawl.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Crawl)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_retry_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once, loopback is reached without a proxy, and runs are looked for in the workspace."""
    monkeypatch.setattr("gptoss.sources.network.FIRST_PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def make_source(format_: str, *urls: str, **more: Any) -> SourceConfig:
    values = {"format": format_, "urls": list(urls), "license": "L", "language": "en"} | more
    return check(SourceConfig, values, origin="test")
