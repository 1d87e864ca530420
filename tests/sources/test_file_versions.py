"""Versions of raw files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import UserError
from gptoss.sources.file_versions import remote_version
from tests.sources.http_server import BODY


def test_the_version_of_a_remote_file_is_what_its_server_reports(workspace: Path, server: str, no_pauses: None) -> None:
    assert remote_version(f"{server}/ok") == f"size={len(BODY)}"
    assert remote_version(f"{server}/missing") == remote_version("http://127.0.0.1:9/x") == ""
    with pytest.raises(UserError, match="unknown"):
        remote_version("unknown://x/y")
