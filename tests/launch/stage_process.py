"""The stage `pretrain` in its own process, for tests that interrupt it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from gptoss.core.atomic_files import sha256_file
from gptoss.tracking.mlflow_run import StageRun
from gptoss.train import metrics_log
from tests.training_runs import ROOT

RUN = StageRun("pretrain")
STAGE = """
import json, sys
from gptoss.config.settings import load_settings
from gptoss.tracking.mlflow_run import StageRun
from gptoss.core.process import exit_code_of
from stages.pretrain import pretrain
sys.exit(exit_code_of(lambda: print(json.dumps(pretrain(load_settings(), StageRun("pretrain"))))))
"""
"""Program that runs the stage without DVC and MLflow."""


def start(**environment: str) -> subprocess.Popen[str]:
    """Start the stage in the working folder."""
    return subprocess.Popen(
        [sys.executable, "-c", STAGE], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip


def outputs() -> dict[str, str]:
    """SHA-256 of the weights and curves by path."""
    return {str(path): sha256_file(path) for top in ("models", "reports") for path in Path(top).rglob("*.*")}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill(process: subprocess.Popen[str]) -> None:
    """`kill -9` of the parent; the kernel must end its ranks."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def training_rows() -> int:
    return sum("learning_rate" in row for row in metrics_log.read(RUN.state))


def checkpoints() -> list[str]:
    return sorted(path.name for path in (RUN.state / "checkpoints").glob("step-*"))


def finished() -> list[str]:
    """Checkpoints that are neither partial nor damaged."""
    return [name for name in checkpoints() if "." not in name]


def ranks_of(process: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """The ranks by number. Their own children inherit RANK, so the oldest process with it is the rank."""
    found: dict[int, psutil.Process] = {}
    for child in sorted(psutil.Process(process.pid).children(recursive=True), key=psutil.Process.create_time):
        with contextlib.suppress(psutil.NoSuchProcess):
            if rank := child.environ().get("RANK"):
                found.setdefault(int(rank), child)
    return found
