"""Training as a Slurm job, on a cluster of two nodes on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gptoss.config.cluster import ClusterConfig
from gptoss.core.errors import Preempted, UserError
from gptoss.launch import failures, slurm, slurm_batch
from gptoss.launch.environment import RESTART_COUNT_ENV, RUN_CONFIG_ENV, config_file
from gptoss.train.run_config import RunConfig
from tests.launch.slurm_site import missing, slurm_site
from tests.launch.stage_process import RUN, STAGE, finished, outputs, start, wait_for
from tests.training_runs import ROOT, cluster

STEPS = {"pretrain.steps": 100, "pretrain.loss_scale.growth_interval": 7}
CHECKPOINTS = {"every_steps": 5, "keep": 2}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running Slurm cluster of two nodes."""
    if missing():
        pytest.skip(f"needs {', '.join(missing())} (on Debian: apt-get install slurm-wlm munge)")
    with slurm_site(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def on_slurm(site: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ClusterConfig:
    """Two nodes with one rank each. Both are this machine, so the ranks use the loopback device."""
    for key, value in site.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    return cluster(
        shard=2, nodes=2, processes_per_node=1, launcher="slurm", checkpoints=CHECKPOINTS,
        slurm={"partition": "main", "time": "10"},
    )  # fmt: skip


def job_number() -> str:
    (number,) = re.findall(r'"job": "(\d+)"', (RUN.state / "slurm.json").read_text())
    return number


@pytest.mark.slow
def test_a_preempted_job_gives_the_bytes_of_an_uninterrupted_run(
    checkout: Callable[..., Path], on_slurm: ClusterConfig
) -> None:  # fmt: skip
    """The stage on the login node is killed and finds its job again; the job is requeued as after a preemption. The
    weights are those of the same mesh under torchrun."""
    checkout(cluster(shard=2, checkpoints=CHECKPOINTS), **STEPS)
    _, err = start().communicate()
    expected = outputs()
    assert len(expected) == 4, err
    shutil.rmtree(RUN.state)
    shutil.rmtree("models")

    checkout(on_slurm, **STEPS)
    login = start()
    wait_for(lambda: len(finished()) >= 2, login)
    login.kill()
    login.communicate()
    login = start()
    subprocess.run(["scontrol", "requeue", job_number()], check=True)
    _, err = login.communicate(timeout=300)
    assert login.returncode == 0, err
    assert f"following Slurm job {job_number()}" in err
    assert "resumed after step" in err
    assert outputs() == expected


@pytest.mark.slow
def test_cancelling_saves_and_leaves_no_job(checkout: Callable[..., Path], on_slurm: ClusterConfig) -> None:
    """SIGTERM to the stage: the ranks finish their step and save, and the job is not requeued."""
    checkout(on_slurm, **STEPS | {"pretrain.steps": 5000})
    login = start()
    wait_for(lambda: len(finished()) >= 1, login)
    login.terminate()
    _, err = login.communicate(timeout=300)
    assert login.returncode == Preempted.exit_code, err
    (step,) = re.findall(r"stopped on request after step (\d+); the same command continues", err)
    assert finished()[-1] == f"step-{int(step):08d}"
    shown = subprocess.run(["scontrol", "show", "job", job_number()], check=True, capture_output=True, text=True).stdout
    assert "JobState=FAILED" in shown and "ExitCode=75:0" in shown and "Requeue=0" in shown


@pytest.mark.slow
def test_the_script_by_hand_trains_in_its_allocation(checkout: Callable[..., Path], on_slurm: ClusterConfig) -> None:
    """No stage on a login node: the batch script runs it, gets SIGTERM as before a time limit, is requeued and
    finishes."""
    folder = checkout(on_slurm, **STEPS)
    stage = folder / "stage.sh"
    stage.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "$(cat stage.py)"\n')
    stage.chmod(0o755)
    (folder / "stage.py").write_text(STAGE)
    environment = os.environ | {slurm.PYTHON: str(stage), "PYTHONPATH": str(ROOT)}
    command = ["sbatch", "--parsable", "--output=job.log", *slurm.options(on_slurm), str(slurm.SCRIPT)]
    number = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()
    job = slurm.Job(number, "")
    deadline = time.monotonic() + 300
    while not finished():
        assert job.poll() is None and time.monotonic() < deadline, (folder / "job.log").read_text()
        time.sleep(0.02)
    subprocess.run(["scancel", "--signal=TERM", number], check=True)
    assert job.wait(300) == 0, (folder / "job.log").read_text()
    log = (folder / "job.log").read_text()
    assert re.search(r"stopped on request after step (\d+)(.|\n)*run 2(.|\n)*resumed after step \1\n", log), log
    assert len(outputs()) == 4


def test_a_task_of_srun_is_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {
        "SLURM_JOB_ID": "40123", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "9",
        "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "gpu[03-04]",
    }  # fmt: skip
    shown = {"hostnames": "gpu03\ngpu04\n", "node": "NodeName=gpu03 Arch=x86_64 NodeAddr=10.0.0.3 NodeHostName=gpu03\n"}
    monkeypatch.setattr(slurm, "_slurm", lambda *command: shown[command[-2]])
    rank = {"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "MASTER_ADDR": "10.0.0.3", "MASTER_PORT": "20123"}
    assert slurm.rank_environment(task) == rank

    monkeypatch.setattr(slurm.os, "environ", dict(task))
    slurm.set_rank_environment()
    assert slurm.os.environ == task | rank
    for environment in ({key: value for key, value in task.items() if key != "SLURM_STEP_ID"}, task | {"RANK": "3"}):
        monkeypatch.setattr(slurm.os, "environ", dict(environment))
        slurm.set_rank_environment()
        assert slurm.os.environ == environment


def test_the_options_for_sbatch() -> None:
    section = {"partition": "a100", "time": "1-00:00:00", "options": ["--exclusive"]}
    on = cluster(shard=16, nodes=2, processes_per_node=8, device="cuda", launcher="slurm", slurm=section)
    assert slurm.options(on) == [
        "--nodes=2", "--ntasks-per-node=8", "--cpus-per-task=1", "--signal=TERM@120", "--gres=gpu:8",
        "--partition=a100", "--time=1-00:00:00", "--exclusive",
    ]  # fmt: skip


def test_without_slurm_the_error_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no `squeue` here\n  fix: run this on a login node"):
        slurm._slurm("squeue")


def test_a_job_restarts_its_ranks_only_where_that_can_help(
    make_run_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a death, at most twice; not after a mistake in the configuration."""
    run = make_run_config(cluster(nodes=2, processes_per_node=1, shard=2, launcher="slurm", restarts=2))
    run.state.mkdir(parents=True)
    run.write(config_file(run.state))
    monkeypatch.setenv(RUN_CONFIG_ENV, str(config_file(run.state)))
    outcomes = iter([("died", 137), ("UserError", 1), ("died", 137), ("died", 137), ("died", 137)])
    counted: list[str] = []

    def srun(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        assert command[0] == "srun"
        kind, code = next(outcomes)
        counted.append(env[RESTART_COUNT_ENV])
        failures.clear(run.state)
        failures.report(run.state, failures.Failure(1, 0.0, kind, "problem"))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(slurm_batch.subprocess, "run", srun)
    assert slurm_batch.main() == 1
    assert counted == ["0", "1"]
    assert slurm_batch.main() == 137
    assert counted == ["0", "1", "0", "1", "2"]
