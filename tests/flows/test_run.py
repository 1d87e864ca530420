"""The flow with Prefect's real temporary server over a small DVC project: states, failure, restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PIPELINE = """
stages:
  a:
    foreach: [x, y]
    do:
      cmd: echo ${item} > out_${item}
      outs: ["out_${item}"]
      params: [seed]
  join:
    cmd: cat out_x out_y > joined
    deps: [out_x, out_y]
    outs: [joined]
  last:
    cmd: "test -e allow || (echo 'error: allow is missing'; echo '  fix: touch allow'; exit 3) && cp joined last"
    deps: [joined]
    outs: [last]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project with the tiny parameters and four small stages, the third of which needs a file."""
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text((ROOT / "profiles" / "tiny.yaml").read_text())
    (tmp_path / "infra").symlink_to(ROOT / "infra")
    for command in (["init", "-q", "--no-scm"], ["config", "core.analytics", "false"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    return tmp_path


def run(project: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.pipeline"], cwd=project, env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_fail_mend_finish_and_nothing_to_do(project: Path) -> None:
    failed = run(project)
    assert failed.returncode == 1
    assert "error: last: allow is missing\n  fix: touch allow" in failed.stderr
    assert (project / "joined").read_text() == "x\ny\n"

    (project / "allow").touch()
    mended = run(project)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    output = mended.stdout + mended.stderr
    assert "Unchanged('join is up to date'" in output
    assert (project / "last").exists()
    lock = (project / "dvc.lock").read_text()

    again = run(project)
    assert "0 of 4 stages were out of date" in again.stdout + again.stderr
    assert (project / "dvc.lock").read_text() == lock
    assert (project / ".prefect").is_dir()
