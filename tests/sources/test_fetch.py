"""Downloads and their failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import ClusterError, UserError
from gptoss.sources.fetch import RawFileOpener
from gptoss.sources.resolve_urls import RawFile
from tests.sources.http_server import BODY, Handler


def fetched(url: str) -> bytes:
    with RawFileOpener(Path("state")).open(RawFile(url, url)) as stream:
        return stream.read()


def test_download_is_retried_and_leaves_nothing_behind(workspace: Path, server: str, no_pauses: None) -> None:
    assert fetched(f"{server}/ok") == fetched(f"{server}/flaky") == BODY
    assert Handler.requests.count("/flaky") == 3
    assert not list(Path("state").iterdir())


def test_failed_downloads_name_the_url(workspace: Path, server: str, no_pauses: None) -> None:
    with pytest.raises(UserError, match="/missing does not exist"):
        fetched(f"{server}/missing")
    with pytest.raises(ClusterError, match=r"cannot reach http://127\.0\.0\.1:\d+/short .*3 attempts"):
        fetched(f"{server}/short")
    with pytest.raises(ClusterError, match=r"cannot reach http://127\.0\.0\.1:9/x .*3 attempts") as raised:
        fetched("http://127.0.0.1:9/x")
    assert "network" in raised.value.fix
    assert not list(Path("state").iterdir())
