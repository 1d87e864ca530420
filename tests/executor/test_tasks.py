"""Tasks are complete when their results are on disk, whatever ran them and however it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptoss.config.cluster import ClusterConfig, load_cluster
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.executor.tasks import run_tasks
from tests.conftest import ROOT
from tests.executor import jobs


@pytest.fixture
def two(workspace: Path) -> ClusterConfig:
    """Two worker processes on this machine."""
    return load_cluster("local")


def tasks(folder: Path, count: int = 6) -> list[dict[str, object]]:
    return [{"number": number, "folder": str(folder)} for number in range(count)]


def runs(folder: Path) -> dict[int, list[str]]:
    return {int(path.stem): path.read_text().split() for path in folder.glob("*.ran")}


def test_results_from_several_processes_are_in_the_order_of_the_tasks(two: ClusterConfig, workspace: Path) -> None:
    results = run_tasks("squares", jobs.square, tasks(workspace), workspace / "state", cluster=two)
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16, 25]
    processes = {process for ran in runs(workspace).values() for process in ran}
    assert str(os.getpid()) not in processes


def test_little_work_starts_no_process(two: ClusterConfig, workspace: Path) -> None:
    run_tasks("squares", jobs.square, tasks(workspace), workspace / "state", cluster=two, input_bytes=1_000)
    assert {process for ran in runs(workspace).values() for process in ran} == {str(os.getpid())}


def test_tasks_that_release_the_gil_run_in_this_process(two: ClusterConfig, workspace: Path) -> None:
    results = run_tasks("squares", jobs.square, tasks(workspace), workspace / "state", cluster=two, releases_gil=True)
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16, 25]
    assert {process for ran in runs(workspace).values() for process in ran} == {str(os.getpid())}


def test_completed_tasks_are_not_run_again(workspace: Path) -> None:
    state = workspace / "state"
    first = run_tasks("squares", jobs.square, tasks(workspace, 3), state)
    again = run_tasks("squares", jobs.square, tasks(workspace, 5), state)
    assert again[:3] == first
    assert [len(ran) for _, ran in sorted(runs(workspace).items())] == [1, 1, 1, 1, 1]


def test_a_task_with_other_arguments_is_another_task(workspace: Path) -> None:
    state = workspace / "state"
    run_tasks("squares", jobs.square, [{"number": 2, "folder": str(workspace)}], state)
    assert run_tasks("squares", jobs.square, [{"number": 3, "folder": str(workspace)}], state) == [{"square": 9}]


@pytest.mark.parametrize("processes", ["single", "local"])
def test_a_failed_task_raises_its_error_and_the_other_results_are_kept(workspace: Path, processes: str) -> None:
    cluster = load_cluster(processes)
    with pytest.raises(DataError, match="part 3 is damaged") as raised:
        run_tasks("squares", jobs.fail_on_three, tasks(workspace), workspace / "state", cluster=cluster)
    assert raised.value.fix == "fetch it again"
    assert sorted(runs(workspace)) == [0, 1, 2, 4, 5]


def test_a_bug_in_a_task_shows_its_traceback(workspace: Path) -> None:
    with pytest.raises(RuntimeError, match="raise KeyError"):
        run_tasks("bugs", jobs.raise_key_error, tasks(workspace, 1), workspace / "state")


def test_the_task_of_a_killed_worker_is_run_again(two: ClusterConfig, workspace: Path) -> None:
    results = run_tasks("dying", jobs.die_once, tasks(workspace), workspace / "state", cluster=two)
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16, 25]
    assert (workspace / "died").exists()


def test_workers_die_with_a_killed_stage_and_the_next_run_continues(workspace: Path) -> None:
    program = (
        "import json, sys; from pathlib import Path; from gptoss.config.cluster import load_cluster\n"
        "from gptoss.core.process import run_and_exit\n"
        "from gptoss.executor.tasks import run_tasks; from tests.executor import jobs\n"
        "work = json.loads(sys.argv[1])\n"
        "run_and_exit(lambda: run_tasks('slow', jobs.slow_square, work, Path('state'), cluster=load_cluster('local')))"
    )
    work = [{**task, "seconds": 0.5} for task in tasks(workspace, 8)]
    command = [sys.executable, "-c", program, json.dumps(work)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen(command, cwd=workspace, env=environment)
    while not runs(workspace):
        assert stage.poll() is None
        time.sleep(0.05)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    time.sleep(1.5)
    done = runs(workspace)
    time.sleep(1.0)
    assert runs(workspace) == done, "a worker survived its stage"
    assert len(done) < 8
    subprocess.run(command, cwd=workspace, env=environment, check=True)
    assert sorted(runs(workspace)) == list(range(8))
    assert sorted(path.stem for path in workspace.glob("*.txt")) == [str(number) for number in range(8)]


def test_an_unreachable_cluster_is_an_error_with_its_address(workspace: Path) -> None:
    pytest.importorskip("ray")
    program = (
        "from pathlib import Path; from gptoss.config.cluster import load_cluster\n"
        "from gptoss.executor.tasks import run_tasks\n"
        "from gptoss.core.errors import ClusterError; from tests.executor import jobs\n"
        "cluster = load_cluster('ray').model_copy(update={'address': '127.0.0.1:1'})\n"
        "try: run_tasks('s', jobs.square, [{'number': 1, 'folder': '.'}], Path('state'), cluster=cluster)\n"
        "except ClusterError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_gcs_rpc_server_reconnect_timeout_s": "1"}
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=workspace, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert "no Ray cluster at 127.0.0.1:1" in output and "ray start --head" in output


def test_ray_without_an_address_is_refused(workspace: Path) -> None:
    from gptoss.config.yaml_sections import check, load_yaml

    values = load_yaml(Path("infra/clusters/ray.yaml")) | {"address": ""}
    with pytest.raises(UserError, match="needs the address"):
        check(ClusterConfig, values, origin="ray.yaml")


def test_a_scheduler_without_progress_is_an_error(
    two: ClusterConfig, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptoss.executor.scheduler.schedule", lambda encoded_tasks, cluster, threads: iter(()))
    with pytest.raises(ClusterError, match="6 of 6 tasks could not be run in 3 attempts"):
        run_tasks("squares", jobs.square, tasks(workspace), workspace / "state", cluster=two)
