"""Promotion and roll-back against a real MLflow server: a worse model never becomes champion."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from gptoss.cli.__main__ import main
from gptoss.config.settings import Settings, load_settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import write_json
from gptoss.registry import champions, signature
from gptoss.registry.champions import Move, rollback_chain
from gptoss.registry.sealing import SealedVersion
from gptoss.registry.verification import Verifier
from gptoss.tracking.mlflow_run import MlflowRun, stage_run
from stages.register import register
from tests.conftest import ROOT
from tests.toy_model import write_toy_model

BASE = "gpt-oss-tiny"


def moved(version: str, what: str = "promoted") -> Move:
    return Move(version, what, "why", "who", "when")


def test_a_roll_back_takes_one_move_back_and_two_take_two() -> None:
    moves = [moved("1"), moved("2"), moved("5", "forced")]
    assert rollback_chain(moves) == ["1", "2", "5"]
    moves += [moved("2", "rolled back")]
    assert rollback_chain(moves) == ["1", "2"]
    moves += [moved("1", "rolled back"), moved("6")]
    assert rollback_chain(moves) == ["1", "6"]


def published(value: float, *, gate: bool = True, seed: int = 0, n: int = 24) -> None:
    """Both variants with their scores, as the stages before `register` leave them."""
    row = {
        "suite": "smoke", "task": "mmlu", "metric": "acc", "value": value, "stderr": 0.01, "n": n,
        "template_sha256": "t", "content_sha256": "c", "shots": 0, "answer_limit": None,
    }  # fmt: skip
    for variant in paths.VARIANTS:
        folder = write_toy_model(paths.published("tiny", variant), seed=seed)
        write_json(folder / "gates.json", {"gates": [{"name": "kl_float32_float16", "passed": gate}]})
        (folder / checksums.CHECKSUMS).unlink(missing_ok=True)
        checksums.add_missing(folder)
        write_json(paths.evaluation(variant) / "scores.json", {"bits_per_byte": {"model": 2.0}, "rows": [row]})


def registered(settings: Settings, inputs: str) -> None:
    from gptoss.tracking.provenance import Dependencies

    with stage_run("register", BASE, Dependencies("register", {"x": inputs}, {})) as run:
        assert isinstance(run, MlflowRun)
        register(settings, run)


def test_verify_checks_the_signature_by_the_registered_key(workspace: Path) -> None:
    folder = write_toy_model(Path("run/model"))
    shutil.copytree(folder, "gpt-oss/toy")
    key = signature.sign(Path("gpt-oss/toy"))
    signature.copy_beside(Path("gpt-oss/toy"), Path("run"))

    def wrong(named: str) -> list[str]:
        source = Path("run").resolve().as_uri()
        verifier = Verifier(SealedVersion(BASE, "1", "gpt-oss/toy", source, named, "md5", {}, {}))
        verifier.check_signature()
        assert verifier.matched == (0 if verifier.mismatches else 1)
        return verifier.mismatches

    assert wrong(key) == []
    assert "the registry names none" in wrong("")[0]
    (folder / "model.safetensors").write_bytes(b"tampered")
    assert "model.safetensors" in wrong(key)[0]


def state(client: MlflowClient) -> Any:
    return client.get_registered_model(BASE).aliases


def assert_linked_and_signed(client: MlflowClient) -> None:
    """Version 1: base and Instruct name each other, the bytes are those published, and the signature is of them."""
    first = client.get_model_version(BASE, "1")
    assert first.tags["gptoss.instruct"] == f"{BASE}-instruct/1"
    assert client.get_model_version(f"{BASE}-instruct", "1").tags["gptoss.base"] == f"{BASE}/1"
    kept = Path(first.source.removeprefix("file://"))
    assert (kept / "model" / "model.safetensors").samefile("gpt-oss/tiny/model.safetensors")
    key = signature.verify(kept / "model", kept / "model.sig", kept / "signing-key.pub")
    assert first.tags["gptoss.signing_key"] == key


@pytest.fixture
def project(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, MlflowClient]:
    """The settings of a checkout whose outputs all have one hash, and a registry that is empty."""
    monkeypatch.setattr("gptoss.tracking.provenance.output_hash", lambda folder: "md5")
    monkeypatch.setattr("gptoss.tracking.provenance.lock_entries", lambda *_: {})
    Path("dvc.lock").write_text("stages: {}")
    Path("params.yaml").write_text(yaml.safe_dump(yaml.safe_load((ROOT / "params.yaml").read_text())))
    return load_settings(), MlflowClient(mlflow_server)


@pytest.mark.slow
def test_a_worse_model_never_becomes_champion_and_a_roll_back_restores_the_better(
    project: tuple[Settings, MlflowClient], capsys: pytest.CaptureFixture[str]
) -> None:
    settings, client = project
    assert champions.get_champion(client, BASE) is None, "a server says that there is no such model"
    client.create_registered_model(BASE)
    assert champions.get_champion(client, BASE) is None, "or no such alias"
    published(0.5)
    registered(settings, "one")
    assert state(client) == {"candidate": "1", "champion": "1"}
    assert_linked_and_signed(client)

    published(0.1, seed=1)
    registered(settings, "worse")
    assert state(client) == {"candidate": "2", "champion": "1"}
    assert main(["promote", "--to", "2"]) == 2
    assert "fell from 0.5000 to 0.1000" in capsys.readouterr().err
    published(0.9, gate=False, seed=2)
    registered(settings, "gate failed")
    assert main(["promote", "--to", "3"]) == 2
    assert "gate kl_float32_float16 failed" in capsys.readouterr().err
    assert state(client) == {"candidate": "3", "champion": "1"}

    published(0.9, seed=3, n=20)
    registered(settings, "of fewer items")
    assert state(client) == {"candidate": "4", "champion": "1"}
    printed = client.get_model_version(BASE, "4").tags["gptoss.reasons"]
    assert "smoke.mmlu.acc (items 20, was 24)" in printed
    assert f'gptoss promote --model {BASE} --to 4 --force "why"' in printed

    published(0.6, seed=4)
    registered(settings, "better")
    assert state(client)["champion"] == "5"
    assert main(["promote", "--rollback"]) == 0
    assert state(client)["champion"] == "1"
    assert main(["promote", "--rollback"]) == 2
    assert "had no champion before version 1" in capsys.readouterr().err
    assert main(["promote", "--to", "3", "--force", "the gate was wrong"]) == 0
    assert state(client)["champion"] == "3"
    assert main(["promote", "--to", "9"]) == 2
    assert main(["promote"]) == 0
    printed = capsys.readouterr().out
    assert (
        "version 3 forced by" in printed and "the gate was wrong (against: gate kl_float32_float16 failed)" in printed
    )
    assert [move.what for move in champions.history(client, BASE)] == ["promoted", "promoted", "rolled back", "forced"]

    Path("gpt-oss/tiny/config.json").write_text("{}")
    with pytest.raises(Exception, match=r"config\.json does not match checksums\.sha256"):
        registered(settings, "tampered")
    assert state(client)["candidate"] == "5"
