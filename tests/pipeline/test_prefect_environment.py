"""Where Prefect finds its server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss.core.atomic_files import write_json
from gptoss.core.errors import ClusterError
from gptoss.pipeline import prefect_environment


@pytest.fixture(autouse=True)
def _clean(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")})


def test_state_stays_in_the_checkout_and_a_person_may_say_otherwise() -> None:
    os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG"
    prefect_environment.prepare()
    assert os.environ["PREFECT_HOME"] == str(Path(".prefect").resolve())
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert "PREFECT_API_URL" not in os.environ


def test_a_named_server_that_is_not_there_is_one_clear_message() -> None:
    os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    with pytest.raises(ClusterError, match="no Prefect server answers") as caught:
        prefect_environment.prepare()
    assert "dvc repro" in caught.value.fix


def test_pages_that_were_left_behind_are_not_used() -> None:
    write_json(prefect_environment.UI_STATE, {"prefect": "http://127.0.0.1:9", "mlflow": "http://127.0.0.1:9"})
    prefect_environment.prepare()
    assert "PREFECT_API_URL" not in os.environ
