"""The examples of `docs/extending.md` work as printed: they are applied to a copy of the tree and used there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import extension_checks
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(python|yaml|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEW_FILE = re.compile(r"# ((?:gptoss|evals|infra)/\S+)\n")
CHECKS = sorted(name for name in vars(extension_checks) if name.startswith("check_"))


def apply_diff(folder: Path, block: str) -> None:
    """Insert the added lines after the existing line that the diff prints before them."""
    header, *changes = block.splitlines()
    path = folder / header.removeprefix("--- ")
    lines = path.read_text().splitlines()
    position = 0
    for change in changes:
        if change.startswith("+"):
            lines.insert(position, change[1:])
            position += 1
        else:
            assert lines.count(change[1:]) == 1, f"{path} has no line {change[1:]!r} of its own"
            position = lines.index(change[1:]) + 1
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with every example of the page."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("gptoss", "stages", "evals", "infra", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "tests").symlink_to(ROOT / "tests")
    for kind, block in BLOCK.findall((ROOT / "docs" / "extending.md").read_text()):
        if kind == "diff":
            apply_diff(folder, block)
        elif path := NEW_FILE.match(block):
            assert not (folder / path[1]).exists(), f"{path[1]} exists: the example is not new"
            (folder / path[1]).write_text(block[path.end() :])
    return folder


def test_every_section_with_an_example_has_a_check() -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    new_files = [path for _, block in BLOCK.findall(page) for path in NEW_FILE.findall(block)]
    assert len(new_files) == 11 and page.count("```diff") == 8
    assert set(extension_checks.EXAMPLES.values()) == set(new_files)
    assert {name.removeprefix("check_") for name in CHECKS} == extension_checks.EXAMPLES.keys()


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_works_as_printed(check: str, extended: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(extended), "GPTOSS_CLUSTER": "single", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.extension_checks", check],
        cwd=extended, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
