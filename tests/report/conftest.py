"""A report of plausible inputs, made once per module."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings, load_settings
from gptoss.tracking import mlflow_client
from gptoss.tracking.mlflow_run import StageRun
from stages.report import report
from tests.conftest import ROOT
from tests.report import inputs


def down(_: str) -> tuple[Any, str]:
    """An MLflow that does not answer."""
    raise ConnectionError("refused")


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers where MLflow should be."""
    monkeypatch.setattr(mlflow_client, "connect", down)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with plausible inputs and the report of them."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(mlflow_client, "connect", down)
        settings = load_settings(ROOT / "profiles" / "tiny.yaml")
        inputs.everything(settings)
        assert report(settings, StageRun("report")) == {}
    return folder


@pytest.fixture
def made(finished: Path, workspace: Path, settings: Settings) -> Settings:
    """A copy of the finished report, as the working folder."""
    shutil.copytree(finished, workspace, dirs_exist_ok=True)
    return settings
