"""`gptoss use` writes a configuration that loads."""

from __future__ import annotations

from pathlib import Path

from gptoss.cli.use import use
from gptoss.config.settings import load_settings
from tests.conftest import ROOT


def test_use_writes_params_that_load(workspace: Path) -> None:
    (workspace / "profiles").symlink_to(ROOT / "profiles")
    use("20b")
    assert load_settings().name == "20B"
    use("tiny")
    assert Path("params.yaml").read_text() == (ROOT / "profiles" / "tiny.yaml").read_text()
