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


def test_state_stays_in_the_checkout_unless_the_environment_says_otherwise() -> None:
    os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG"
    prefect_environment.prepare()
    assert os.environ["PREFECT_HOME"] == str(Path(".prefect").resolve())
    assert os.environ["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert "PREFECT_API_URL" not in os.environ


def test_a_named_server_that_does_not_answer_ends_in_one_message() -> None:
    os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    with pytest.raises(ClusterError, match="no Prefect server answers") as caught:
        prefect_environment.prepare()
    assert "dvc repro" in caught.value.fix


def test_addresses_of_servers_that_were_killed_are_not_used() -> None:
    write_json(prefect_environment.UI_STATE, {"prefect": "http://127.0.0.1:9", "mlflow": "http://127.0.0.1:9"})
    prefect_environment.prepare()
    assert "PREFECT_API_URL" not in os.environ
