"""A package index on disk, and retries without pauses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.raw_files import LocalIndex
from tests.sources.http_server import Handler


@pytest.fixture
def package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    """An empty index, which is the only one that pip and so the stage are configured with."""
    index = LocalIndex(tmp_path / "simple")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    return index


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without pauses."""
    monkeypatch.setattr("gptoss.sources.network.FIRST_PAUSE", 0.0)


@pytest.fixture
def tree(workspace: Path) -> Path:
    for name in ("raw/a.gz", "raw/b.gz", "raw/deep/er/c.gz", "raw/deep/d.txt", "raw/[odd].gz", "raw/.hidden.gz"):
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_bytes(name.encode())
    return workspace


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
