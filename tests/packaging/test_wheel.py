"""The package that `pip install .` gives to a user: a wheel of the library with its templates and data files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.documents import write_documents

TEXT = "In the beginning the pipeline read many words, and every one of them was counted. {}"
PIPELINE = """
stages:
  tokenizer:
    cmd: python -m stages.tokenizer
    deps: [data/clean]
    params: [tokenizer, model.context, seed, {data/code/tokenizer.yaml: }]
    outs: [data/tokenizer]
"""


def document(number: int) -> dict[str, Any]:
    """A row of the table of documents."""
    values = {"source": "wikipedia", "url": "", "title": "", "language": "en", "license": "", "meta": "{}"}
    return {"id": f"{number:032x}", "text": TEXT.format(number)} | values


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the files that git tracks, built by the project's own build backend."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("gptoss", "flows", "stages"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(built), str(source)], check=True)
    return next(built.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("gptoss", "flows", "stages")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".nbi", ".nbc"}
    }
    assert files <= packed
    assert any(name.endswith("dist-info/entry_points.txt") for name in packed)


def test_a_stage_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The `tokenizer` stage, which needs a template of the package, in a folder without the checkout."""
    installed, project = tmp_path / "installed", tmp_path / "project"
    project.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    (project / "dvc.yaml").write_text(PIPELINE)
    params = (ROOT / "profiles" / "tiny.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("vocab_size: 2048", "vocab_size: 320"))
    shutil.copytree(ROOT / "infra" / "clusters", project / "infra" / "clusters")
    shutil.copytree(ROOT / "evals" / "suites", project / "evals" / "suites")
    (project / "data" / "clean").mkdir(parents=True)
    write_documents(project / "data" / "clean", [document(number) for number in range(300)])
    environment = os.environ | {"PYTHONPATH": str(installed), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}

    def run(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "dvc", "init", "-q", "--no-scm")
    assert run("-c", "import gptoss; print(gptoss.__file__)").strip() == str(installed / "gptoss" / "__init__.py")
    run("-m", "stages.tokenizer")
    assert (project / "data/tokenizer/chat_template.jinja").read_bytes() == (
        ROOT / "gptoss/tokenizer/chat_template.jinja"
    ).read_bytes()
    digests = (project / "data/code/tokenizer.yaml").read_text()
    assert "gptoss/tokenizer/chat_template.jinja" in digests
    run("-m", "gptoss.cli", "plan", "--help")
