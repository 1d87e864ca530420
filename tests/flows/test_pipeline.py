"""The flow with Prefect's real temporary server over a small DVC project: states, failure, restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
    """A DVC project with the tiny parameters and four small stages; the third one needs a file."""
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text((ROOT / "profiles" / "tiny.yaml").read_text())
    (tmp_path / "infra").symlink_to(ROOT / "infra")
    for command in (["init", "-q", "--no-scm"], ["config", "core.analytics", "false"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    return tmp_path


def start(project: Path) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "gptoss.cli", "run"], cwd=project, env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(project: Path) -> subprocess.CompletedProcess[str]:
    process = start(project)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.slow
def test_a_failed_run_is_fixed_continued_and_then_has_nothing_to_do(project: Path) -> None:
    failed = run(project)
    assert failed.returncode == 1
    assert "error: last: allow is missing\n  fix: touch allow" in failed.stderr
    assert (project / "joined").read_text() == "x\ny\n"

    (project / "allow").touch()
    fixed = run(project)
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    output = fixed.stdout + fixed.stderr
    assert "Unchanged('join is up to date'" in output
    assert (project / "last").exists()
    lock = (project / "dvc.lock").read_text()

    again = run(project)
    assert "0 of 4 stages were out of date" in again.stdout + again.stderr
    assert (project / "dvc.lock").read_text() == lock
    assert (project / ".prefect").is_dir()


LONG = """
import pathlib, signal, sys, time
def stop(number, frame):
    time.sleep(1)
    pathlib.Path("saved").touch()
    print("stopped on request after step 7; the same command continues", file=sys.stderr)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("started").touch()
time.sleep(0 if pathlib.Path("saved").exists() else 300)
pathlib.Path("out_long").touch()
"""


@pytest.mark.slow
def test_a_cancelled_flow_lets_its_stage_save_and_is_no_failure(project: Path) -> None:
    """SIGTERM to the flow: the stage saves, DVC exits normally, the task is stopped, what needs it never runs."""
    (project / "long.py").write_text(LONG)
    (project / "dvc.yaml").write_text(
        "stages:\n"
        "  long: {cmd: python long.py, outs: [out_long]}\n"
        "  after: {cmd: cp out_long out_after, deps: [out_long], outs: [out_after]}\n"
    )
    process = start(project)
    deadline = time.monotonic() + 180
    while not (project / "started").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75, out + err
    assert (project / "saved").exists() and not (project / "out_after").exists()
    assert "long: stopped on request after step 7; the same command continues" in err and "Traceback" not in out + err
    assert "Stopped(" in out + err

    again = run(project)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (project / "out_after").exists()
