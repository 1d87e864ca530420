"""The identity of a stage run: equal in the running stage and in `dvc.lock`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gptoss.core.errors import UserError
from gptoss.registry.verification import md5_path
from gptoss.tracking import provenance

PIPELINE = """
stages:
  make:
    foreach: [x, y]
    do:
      cmd: mkdir -p data/${item}/inner && echo ${item} > data/${item}/inner/file && echo b > data/${item}/a
      params: [seed]
      outs: ["data/${item}"]
  join:
    cmd: cat data/x/inner/file data/y/inner/file > joined
    deps: [data, code]
    params: [nested.value, seed]
    outs: [joined]
"""


@pytest.fixture
def project(workspace: Path) -> Path:
    """A DVC project whose stages have run."""
    (workspace / "dvc.yaml").write_text(PIPELINE)
    (workspace / "params.yaml").write_text("seed: 1\nnested: {value: 1.0e-5, other: 2}\n")
    (workspace / "code").mkdir()
    (workspace / "code" / "module.py").write_text("x = 1\n")
    for command in (["init", "-q", "--no-scm"], ["config", "core.analytics", "false"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True)
    return workspace


def test_current_equals_recorded(project: Path) -> None:
    for stage in ("make@x", "join"):
        assert provenance.current(stage) == provenance.recorded(stage)


def test_a_change_of_code_data_or_params_changes_the_fingerprint(project: Path) -> None:
    fingerprints = {provenance.current("join").fingerprint}
    (project / "code" / "module.py").write_text("x = 2\n")
    fingerprints.add(provenance.current("join").fingerprint)
    (project / "params.yaml").write_text("seed: 1\nnested: {value: 2.0e-5, other: 2}\n")
    fingerprints.add(provenance.current("join").fingerprint)
    (project / "params.yaml").write_text("seed: 1\nnested: {value: 2.0e-5, other: 3}\n")
    fingerprints.add(provenance.current("join").fingerprint)  # `nested.other` is not a dependency
    assert len(fingerprints) == 3


def test_the_hash_of_a_folder_equals_that_of_dvc(project: Path) -> None:
    recorded = provenance.recorded("join")
    assert recorded is not None
    assert md5_path(Path("data")) == recorded.hashes["data"]
    assert md5_path(Path("code")) == recorded.hashes["code"]
    assert md5_path(Path("data/x")) == provenance.output_hash("data/x")


def test_unknown_stages_and_outputs_are_user_errors(project: Path) -> None:
    with pytest.raises(UserError):
        provenance.current("nothing")
    with pytest.raises(UserError, match="holds no output"):
        provenance.output_hash("nothing")
    assert provenance.recorded("nothing") is None
