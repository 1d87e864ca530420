"""Fixtures shared by all tests: the tiny settings, a clean working folder, and the optional real sample data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.config.yaml_sections import check, load_yaml

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: workers that share the files then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def shared() -> Path:
    """Real corpora and benchmark items in their native formats, where this machine has them."""
    folder = Path(os.environ.get("GPTOSS_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the sample data folder {folder} (set GPTOSS_SHARED)")
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the working directory, with its own cluster files and nothing else: stages use paths relative to it.
    Data stages run their tasks in this process."""
    shutil.copytree(ROOT / "infra" / "clusters", tmp_path / "infra" / "clusters")
    monkeypatch.setenv("GPTOSS_CLUSTER", "single")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def settings_with() -> Callable[..., Settings]:
    """The tiny settings with changes: `settings_with(**{"pretrain.steps": 4, "model.layers": 2})`."""

    def make(**changes: Any) -> Settings:
        values = load_yaml(ROOT / "profiles" / "tiny.yaml")
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = values
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
        return check(Settings, values, origin="test")

    return make


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    """The tiny settings."""
    return settings_with()
