"""torchrun on several nodes: one command per node, as in the pods of Kubernetes. Both nodes are this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError, Preempted, UserError
from gptoss.launch import node
from gptoss.launch.torchrun_agent import exit_code
from tests.launch.stage_process import RUN, STAGE, finished, outputs, wait_for
from tests.training_runs import ROOT, cluster, free_port

EXTERNAL = f"""
import sys
from gptoss.launch import external
external.STAGE = [sys.executable, "-c", {STAGE!r}]
sys.exit(external.main())
"""
"""`python -m gptoss.launch.external` with a stage without DVC and MLflow."""

DAMAGED = f"""
import os
if os.environ["RANK"] == "3":
    from gptoss.core.errors import DataError
    from gptoss.train.step import Trainer
    def damaged(self):
        raise DataError("train-00001.bin is damaged", "make it again")
    Trainer.open_data = damaged
{EXTERNAL}
"""
"""The same with a shard whose copy is damaged on the last rank."""


def start_nodes(command: list[str], port: int) -> list[subprocess.Popen[str]]:
    rendezvous = {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    return [
        subprocess.Popen(
            command, text=True, stderr=subprocess.PIPE,
            env=os.environ | rendezvous | {"PET_NODE_RANK": str(node), "PYTHONPATH": str(ROOT)},
        )
        for node in range(2)
    ]  # fmt: skip


@pytest.mark.slow
def test_a_stop_request_to_one_node_stops_all_and_all_resume(
    checkout: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """An evicted pod: every rank saves, every node exits with 75, and the same commands end the run."""
    on = cluster(pp=2, shard=2, nodes=2, processes_per_node=2, checkpoints={"every_steps": 5, "keep": 2})
    checkout(on, **{"pretrain.steps": 60})
    monkeypatch.setattr(node, "EXTERNAL", [sys.executable, "-c", EXTERNAL])
    command, port = node.command(on), free_port()
    nodes = start_nodes(command, port)
    wait_for(lambda: len(finished()) >= 1, nodes[0])
    nodes[1].send_signal(signal.SIGTERM)
    errors = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [Preempted.exit_code] * 2, errors
    assert "stopped on request after step" in errors[0] and not outputs()

    nodes = start_nodes(command, port)
    errors = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], errors
    assert "resumed after step" in errors[0]
    assert len(outputs()) == 4


@pytest.mark.slow
def test_damaged_data_on_another_node_is_reported_by_the_stage_and_permanent(
    checkout: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The rank writes a report, and its node exits with the code on which a scheduler gives up."""
    on = cluster(pp=2, shard=2, nodes=2, processes_per_node=2)
    checkout(on)
    monkeypatch.setattr(node, "EXTERNAL", [sys.executable, "-c", DAMAGED])
    nodes = start_nodes(node.command(on), free_port())
    errors = [node.communicate(timeout=120)[1] for node in nodes]
    assert nodes[1].returncode == DataError.exit_code, errors
    report = read_json(RUN.state / "failures" / "rank-3.json")
    assert (report["kind"], report["problem"]) == ("DataError", "train-00001.bin is damaged")
    assert "error: train-00001.bin is damaged" in errors[0], errors


def test_the_exit_code_of_a_node_is_a_permanent_error_or_that_of_the_stage() -> None:
    assert [exit_code(codes) for codes in ({2: 3, 3: 1}, {0: 4, 1: 2}, {0: 4, 1: 1}, {1: -9}, {0: -15})] == [
        3, 2, 4, 1, 1,
    ]  # fmt: skip


def test_a_node_without_rendezvous_is_refused(
    checkout: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    checkout(cluster(shard=2, nodes=2, processes_per_node=1))
    monkeypatch.setenv("PET_NODE_RANK", "1")
    with pytest.raises(UserError, match="needs PET_MASTER_ADDR, PET_MASTER_PORT in the environment"):
        node.become_torchrun()
