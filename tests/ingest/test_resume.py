"""A killed run continues and gives the output of an uninterrupted one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gptoss.tables import documents
from gptoss.tracking.mlflow_run import StageRun
from tests.ingest.stage_run import OUTPUT, article_dumps, command, environment, output_bytes, put


def test_killed_in_the_middle_of_a_file_and_continued(workspace: Path) -> None:
    """The third file is a pipe that delivers half of its bytes and no more: the stage is killed while it reads it."""
    files = article_dumps(5, pages=40)
    urls = sorted(files)
    put(files, workspace / "straight")
    put(files, workspace / "killed")
    for folder in ("straight", "killed"):
        (workspace / folder / "infra").symlink_to(workspace / "infra")
    pipe = workspace / "killed" / urls[2]
    pipe.unlink()
    os.mkfifo(pipe)
    process = subprocess.Popen(command(*urls), cwd=workspace / "killed", env=environment(), stderr=subprocess.DEVNULL)
    state = workspace / "killed" / StageRun("ingest@sample").state
    with pipe.open("wb") as half:  # returns when the stage opens it, too
        half.write(files[urls[2]][: len(files[urls[2]]) // 2])
        half.flush()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (workspace / "killed" / OUTPUT).exists()
    finished = {path: path.stat().st_mtime_ns for path in state.glob("read/*.json")}
    assert [path.name for path in finished] == ["000000.json"]
    pipe.unlink()
    put({urls[2]: files[urls[2]]}, workspace / "killed")
    for folder in ("killed", "straight"):
        subprocess.run(command(*urls), cwd=workspace / folder, env=environment(), check=True)
    assert output_bytes(workspace / "killed") == output_bytes(workspace / "straight")
    assert len(documents.read_table(workspace / "killed" / OUTPUT)) == 5 * 40
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())


@pytest.mark.slow
def test_killed_at_any_point_and_continued(workspace: Path) -> None:
    """Killed five times, at moments spread over the duration of an uninterrupted run."""
    files = article_dumps(40, pages=30)
    for folder in ("straight", "killed"):
        put(files, workspace / folder)
        (workspace / folder / "infra").symlink_to(workspace / "infra")
    started = time.monotonic()
    subprocess.run(command("raw/*.bz2"), cwd=workspace / "straight", env=environment(), check=True)
    whole = time.monotonic() - started
    chance = random.Random(7)
    killed = 0
    while killed < 5:
        process = subprocess.Popen(command("raw/*.bz2"), cwd=workspace / "killed", env=environment())
        try:
            process.wait(whole * chance.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if not process.returncode:
            assert output_bytes(workspace / "killed") == output_bytes(workspace / "straight")
            shutil.rmtree(workspace / "killed" / OUTPUT)
            shutil.rmtree(workspace / "killed" / ".runs")
    subprocess.run(command("raw/*.bz2"), cwd=workspace / "killed", env=environment(), check=True)
    assert output_bytes(workspace / "killed") == output_bytes(workspace / "straight")
    assert not [path for path in (workspace / "killed" / OUTPUT).parent.iterdir() if path.name.startswith(".")]
