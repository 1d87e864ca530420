"""torchrun on several nodes: one command a node, as in the pods of Kubernetes. Both nodes are this machine."""

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
from gptoss.launch import launcher
from gptoss.launch.torchrun_agent import exit_code
from tests.train.conftest import ROOT, cluster, free_port
from tests.train.runs import RUN, STAGE, finished, outputs, wait_for

RANK = f"""
import os, sys
if os.environ["RANK"] != "0":
    from stages.pretrain import rank
    sys.exit(rank.main())
{STAGE}
"""
"""`python -m stages.pretrain` without DVC and MLflow."""


DAMAGED = f"""
import os
if os.environ["RANK"] == "3":
    from gptoss.core.errors import DataError
    from stages.pretrain import train
    def damaged(self):
        raise DataError("train-00001.bin is damaged", "make it again")
    train.Trainer.open_data = damaged
{RANK}
"""
"""The same with a shard that is damaged where the last rank reads it."""


def start_nodes(command: list[str], port: int) -> list[subprocess.Popen[str]]:
    place = {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    return [
        subprocess.Popen(
            command, text=True, stderr=subprocess.PIPE,
            env=os.environ | place | {"PET_NODE_RANK": str(node), "PYTHONPATH": str(ROOT)},
        )
        for node in range(2)
    ]  # fmt: skip


@pytest.mark.slow
def test_one_node_that_is_told_to_stop_stops_all_and_all_continue(
    checkout: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """An evicted pod: every rank saves, every node exits with 75, and the same commands end the run."""
    on = cluster(pp=2, shard=2, nodes=2, processes_per_node=2, checkpoints={"every_steps": 5, "keep": 2})
    checkout(on, **{"pretrain.steps": 60})
    monkeypatch.setattr(launcher, "RANK", [sys.executable, "-c", RANK])
    command, port = launcher.node_command(on), free_port()
    nodes = start_nodes(command, port)
    wait_for(lambda: len(finished()) >= 1, nodes[0])
    nodes[1].send_signal(signal.SIGTERM)
    said = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [Preempted.exit_code] * 2, said
    assert "stopped on request after step" in said[0] and not outputs()

    nodes = start_nodes(command, port)
    said = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert "resumed after step" in said[0]
    assert len(outputs()) == 4


@pytest.mark.slow
def test_damaged_data_on_another_node_is_told_by_the_stage_and_not_tried_again(
    checkout: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The rank that meets it leaves a note, and its node ends with the code at which a scheduler gives up."""
    on = cluster(pp=2, shard=2, nodes=2, processes_per_node=2)
    checkout(on)
    monkeypatch.setattr(launcher, "RANK", [sys.executable, "-c", DAMAGED])
    nodes = start_nodes(launcher.node_command(on), free_port())
    said = [node.communicate(timeout=120)[1] for node in nodes]
    assert nodes[1].returncode == DataError.exit_code, said
    note = read_json(RUN.state / "failures" / "rank-3.json")
    assert (note["kind"], note["problem"]) == ("DataError", "train-00001.bin is damaged")
    assert "error: train-00001.bin is damaged" in said[0], said


def test_the_code_of_a_node_is_that_of_the_rank_at_which_it_makes_no_sense_to_go_on() -> None:
    assert [exit_code(codes) for codes in ({2: 3, 3: 1}, {0: 4, 1: 2}, {0: 4, 1: 1}, {1: -9}, {0: -15})] == [
        3, 2, 4, 1, 1,
    ]  # fmt: skip


def test_a_node_that_does_not_know_its_place_is_told(
    checkout: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    checkout(cluster(shard=2, nodes=2, processes_per_node=1))
    monkeypatch.setenv("PET_NODE_RANK", "1")
    with pytest.raises(UserError, match="needs PET_MASTER_ADDR, PET_MASTER_PORT in the environment"):
        launcher.become_agent()
