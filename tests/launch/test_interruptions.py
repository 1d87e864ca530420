"""Interruptions of a long run: preemption, kills at bad moments, dead or hanging ranks, a full disk, another mesh.
Each gives one clear message, and only the current step is lost."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gptoss.core.atomic_files import read_json
from gptoss.core.errors import ClusterError, Preempted
from gptoss.core.signals import REPEAT_SECONDS
from gptoss.train import metrics_log
from tests.launch.stage_process import (
    RUN,
    checkpoints,
    finished,
    kill,
    outputs,
    ranks_of,
    start,
    training_rows,
    wait_for,
)
from tests.training_runs import cluster

KILLS = int(os.environ.get("GPTOSS_TEST_PRETRAIN_KILLS", "3"))
"""Kills of the whole run, in turns while it saves, while it publishes, and during a step."""
OFTEN = {"every_steps": 5, "keep": 2}


def state_files(pattern: str) -> list[Path]:
    return list((RUN.state / "checkpoints").glob(pattern))


def newest() -> str:
    return max(finished(), default="")


@pytest.mark.slow
def test_killed_stopped_and_damaged_it_gives_the_bytes_of_an_uninterrupted_run(checkout: Callable[..., Path]) -> None:
    """`kill -9` while saving, while publishing, during a step; SIGTERM; a checkpoint that lost a rank's file."""
    checkout(cluster(shard=2, checkpoints=OFTEN), **{"pretrain.steps": 60 + 10 * KILLS})
    _, err = start().communicate()
    expected = outputs()
    assert len(expected) == 4, err
    shutil.rmtree(RUN.state)

    moments = {
        "save": lambda: bool(state_files("*.partial/__*")),
        "publication": lambda: bool(state_files("*.partial/sha256-*.json")),
        "step": lambda: True,
    }
    for moment in itertools.islice(itertools.cycle(moments), KILLS):
        before = newest()
        process = start()
        wait_for(lambda before=before: newest() > before, process)
        wait_for(moments[moment], process)
        kill(process)

    lost = next((RUN.state / "checkpoints" / newest()).glob("__1_*"))
    lost.unlink()
    process = start()
    wait_for(lambda: training_rows() > 0 and newest() > "", process)
    reached = training_rows()
    wait_for(lambda: training_rows() > reached, process)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == Preempted.exit_code, err
    assert f"stopped on request after step {training_rows()}; the same command continues" in err
    stopped = training_rows()
    assert newest() == f"step-{stopped:08d}" and not state_files("*.partial")

    _, err = start().communicate()
    assert f"resumed after step {stopped}" in err and outputs() == expected


@pytest.mark.slow
def test_a_dead_rank_restarts_all_and_a_hanging_one_is_named(checkout: Callable[..., Path]) -> None:
    """With one restart allowed: a rank dies as by the OOM killer, and the run ends as if it had not; then one hangs,
    and that is one too many."""
    steps = {"pretrain.steps": 60}
    checkout(cluster(shard=2, checkpoints=OFTEN), **steps)
    assert start().wait() == 0
    expected = outputs()
    shutil.rmtree(RUN.state)

    checkout(cluster(shard=2, checkpoints=OFTEN, restarts=1, watchdog_seconds=6.0), **steps)
    process = start()
    wait_for(lambda: len(finished()) >= 2, process)
    ranks_of(process)[1].kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "rank 1 died or hung; all ranks started again (1 of 1)" in err and "resumed after step" in err, err
    assert outputs() == expected
    shutil.rmtree(RUN.state)

    checkout(cluster(shard=2, checkpoints=OFTEN, watchdog_seconds=6.0), **{"pretrain.steps": 5000})
    process = start()
    wait_for(lambda: training_rows() >= 3, process)
    ranks = ranks_of(process)
    ranks[1].suspend()
    _, err = process.communicate(timeout=60)
    assert process.returncode == ClusterError.exit_code
    assert "rank 1 hangs (stopped, or stuck in the kernel): no step finished within 6 s" in err
    assert "Traceback" not in err
    log = (RUN.state / "ranks.log").read_text()
    assert "rank 0: no step finished within 6 s; all threads:" in log and "loop.py" in log
    assert not psutil.wait_procs(ranks.values(), timeout=10)[1]


@pytest.mark.slow
def test_a_second_sigterm_stops_at_once(checkout: Callable[..., Path]) -> None:
    checkout(cluster(shard=2), **{"pretrain.steps": 5000})
    process = start()
    wait_for(lambda: training_rows() >= 2, process)
    ranks = ranks_of(process)
    ranks[1].suspend()  # the step under way never ends
    process.terminate()
    time.sleep(REPEAT_SECONDS + 1)
    assert process.poll() is None
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.rstrip().endswith("interrupted; the same command continues")
    assert not psutil.wait_procs(ranks.values(), timeout=10)[1]


@pytest.mark.slow
def test_a_full_disk_is_one_message_and_the_run_continues_when_there_is_room(
    checkout: Callable[..., Path],
) -> None:
    checkout(cluster(checkpoints={"every_steps": 2, "keep": 50}), **{"pretrain.steps": 12})
    RUN.state.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(RUN.state)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        process = start()
        _, err = process.communicate(timeout=90)
        assert process.returncode == ClusterError.exit_code, err
        assert "error: no space left on the device" in err and "Traceback" not in err
        reached = newest()
        assert reached and not state_files("*.partial")
        subprocess.run(["mount", "-o", "remount,size=64m", str(RUN.state)], check=True)
        process = start()
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert f"resumed after step {int(reached[5:])}" in err
    finally:
        subprocess.run(["umount", str(RUN.state)], check=True)


@pytest.mark.slow
def test_a_run_moves_to_another_mesh_and_back(checkout: Callable[..., Path]) -> None:
    """Pipeline 2 x shards 2, to one process, and back, in float32: the losses of a run that stayed."""
    changes = {"pretrain.steps": 12, "pretrain.precision": "float32", "pretrain.learning_rate": 1e-3}
    every = {"every_steps": 4, "keep": 9}
    checkout(cluster(pp=2, shard=2, checkpoints=every), **changes)
    assert start().wait() == 0
    stayed = [row["loss"] for row in metrics_log.read(RUN.state) if "learning_rate" in row]

    for on, first in ((cluster(checkpoints=every), 4), (cluster(pp=2, shard=2, checkpoints=every), 8)):
        for name in checkpoints():
            if int(name[5:]) > first:
                shutil.rmtree(RUN.state / "checkpoints" / name)
        checkout(on, **changes)
        process = start()
        _, err = process.communicate()
        assert process.returncode == 0 and f"resumed after step {first}" in err
        moved = [row["loss"] for row in metrics_log.read(RUN.state) if "learning_rate" in row]
        assert max(abs(a - b) for a, b in zip(stayed, moved, strict=True)) <= 1e-5


@pytest.mark.slow
def test_a_run_that_goes_back_after_spikes_is_the_same_when_it_is_stopped_between(
    checkout: Callable[..., Path],
) -> None:
    """The threshold is so low that noise is a spike: the checkpoint holds the skipped batches, and rows are revoked."""
    spikes = {"policy": "rollback", "threshold": 1.2, "window": 4, "rollback_steps": 2, "max": 1000}
    changes = {"pretrain.steps": 60, "pretrain.spikes": spikes, "pretrain.validate_every": 20}
    checkout(cluster(shard=2, checkpoints={"every_steps": 2, "keep": 4}), **changes)
    _, err = start().communicate()
    expected, events = outputs(), [row for row in metrics_log.read(RUN.state) if "event" in row]
    assert len(expected) == 4 and any(event["event"] == "rollback" for event in events), err
    assert "is a spike: back to step" in err
    steps = [row["step"] for row in metrics_log.read(RUN.state) if "learning_rate" in row]
    assert steps == list(range(1, 61))
    manifest = read_json(RUN.state / "checkpoints" / newest() / "manifest.json")
    assert [event for event in manifest["spikes"]["events"] if event["event"] == "rollback"][-1]["samples"][1] > 0
    shutil.rmtree(RUN.state)

    process = start()
    wait_for(lambda: any("event" in row for row in metrics_log.read(RUN.state)), process)
    process.terminate()
    process.communicate()
    assert process.returncode in (Preempted.exit_code, 0)
    assert start().wait() == 0
    assert outputs() == expected
