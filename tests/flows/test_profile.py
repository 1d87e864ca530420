"""Composing profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.config.profiles import compose, merge, use
from gptoss.config.settings import load_settings
from gptoss.core.errors import UserError
from tests.conftest import ROOT


def test_mappings_merge_and_sources_are_replaced() -> None:
    below = {"a": {"x": 1, "y": 2}, "sources": {"w": 1}, "list": [1, 2]}
    above = {"a": {"y": 3}, "sources": {"g": 2}, "list": [3]}
    assert merge(below, above) == {"a": {"x": 1, "y": 3}, "sources": {"g": 2}, "list": [3]}
    assert below["a"] == {"x": 1, "y": 2}


def test_use_writes_params_that_load(workspace: Path) -> None:
    (workspace / "profiles").symlink_to(ROOT / "profiles")
    use("20b")
    assert load_settings().name == "20B"
    use("tiny")
    assert Path("params.yaml").read_text() == (ROOT / "profiles" / "tiny.yaml").read_text()


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"20b, 30b, 70b, tiny"):
        compose("huge", ROOT / "profiles")
