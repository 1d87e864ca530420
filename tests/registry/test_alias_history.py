"""Present and past positions of the alias `champion`, with a real MLflow on SQLite and with one that is unreachable."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from gptoss.cli.__main__ import main
from gptoss.core.errors import ClusterError, UserError
from gptoss.registry import champions
from gptoss.registry.champions import roll_back, set_champion
from tests.conftest import ROOT

BASE = "gpt-oss-tiny"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """One schema for all tests; each has a model of its own."""
    place = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{place}/registry.db"
    yield MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def client(database: MlflowClient) -> Iterator[MlflowClient]:
    """A registry with three versions of one model, none of them champion."""
    database.create_registered_model(BASE)
    for _ in range(3):
        database.create_model_version(BASE, "file:///nowhere")
    yield database
    database.delete_registered_model(BASE)


def present(client: MlflowClient) -> str:
    return str(champions.get_champion(client, BASE).version)


def moves(client: MlflowClient) -> list[tuple[str, str]]:
    return [(move.version, move.what) for move in champions.history(client, BASE)]


def test_a_registry_that_does_not_answer_is_not_one_without_champion(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert champions.get_champion(client, "unknown") is None
    assert champions.get_champion(client, BASE) is None
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ClusterError, match="did not answer"):
        champions.get_champion(MlflowClient(closed_port(), closed_port()), BASE)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_promote_and_lineage_report_an_unreachable_mlflow_in_two_lines(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_port())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for arguments in (["promote", "--to", "1"], ["lineage", f"{BASE}@champion"]):
        assert main(arguments) == ClusterError.exit_code
        assert "the model registry at http://127.0.0.1:" in capsys.readouterr().err


def test_a_move_is_written_once(client: MlflowClient) -> None:
    set_champion(client, BASE, "1", "promoted", "first")
    set_champion(client, BASE, "2", "promoted", "better")
    assert moves(client) == [("1", "promoted"), ("2", "promoted")]


def test_a_roll_back_starts_at_the_alias_that_was_moved_elsewhere(client: MlflowClient) -> None:
    set_champion(client, BASE, "1", "promoted", "first")
    set_champion(client, BASE, "2", "promoted", "better")
    client.set_registered_model_alias(BASE, "champion", "3")
    assert roll_back(client, BASE, "3 is bad") == present(client) == "2"
    assert moves(client)[2:] == [("3", "promoted"), ("2", "rolled back")]
    assert roll_back(client, BASE, "2 also") == present(client) == "1"
    with pytest.raises(UserError, match="had no champion before version 1"):
        roll_back(client, BASE, "and 1")


def test_a_roll_back_or_promotion_killed_before_the_alias_moved_is_done_again(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_champion(client, BASE, "1", "promoted", "first")
    set_champion(client, BASE, "2", "promoted", "better")
    killed(client, monkeypatch, lambda: roll_back(client, BASE, "bad"))
    assert present(client) == "2"
    assert roll_back(client, BASE, "bad") == present(client) == "1"
    killed(client, monkeypatch, lambda: set_champion(client, BASE, "3", "promoted", "best"))
    assert present(client) == "1"
    with pytest.raises(UserError, match="had no champion before version 1"):  # 3 never was
        roll_back(client, BASE, "bad")


def killed(client: MlflowClient, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", kill)
        with pytest.raises(KeyboardInterrupt):
            call()


def test_a_deleted_champion_is_refused_before_anything_is_written(client: MlflowClient) -> None:
    set_champion(client, BASE, "1", "promoted", "first")
    set_champion(client, BASE, "2", "promoted", "better")
    client.delete_model_version(BASE, "1")
    with pytest.raises(UserError, match="version 1, the champion before, is no longer in the registry"):
        roll_back(client, BASE, "bad")
    assert present(client) == "2" and len(moves(client)) == 2
