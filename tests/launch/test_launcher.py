"""A stage or a node that is started wrongly is refused, and the error names the right command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.core.errors import UserError
from gptoss.launch import external, launcher, node, slurm
from tests.training_runs import cluster


@pytest.fixture(autouse=True)
def _no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_STEP_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def test_a_stage_for_several_nodes_names_the_command_of_a_node() -> None:
    message = r"only start the ranks of its own node\n  fix: start `python -m gptoss.launch.node` once on every node"
    with pytest.raises(UserError, match=message):
        launcher.check_started_correctly(cluster(shard=2, nodes=2, processes_per_node=1))


def test_a_stage_for_another_launcher_names_the_command_of_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    on = cluster(shard=2, launcher="external")
    command = r"\n  fix: start `python -m gptoss.launch.external` on every rank"
    with pytest.raises(UserError, match="RANK is not set" + command):
        launcher.check_started_correctly(on)
    monkeypatch.setenv("RANK", "0")
    launcher.check_started_correctly(on)
    assert launcher.command(on) == slurm.WORKER
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="RANK is 1: .*" + command):
        launcher.check_started_correctly(on)


def test_one_node_and_slurm_need_no_command_of_their_own() -> None:
    launcher.check_started_correctly(cluster(shard=2))
    launcher.check_started_correctly(cluster(shard=2, nodes=2, processes_per_node=1, launcher="slurm"))


def test_a_node_of_a_cluster_that_needs_none_names_the_stage(checkout: Callable[..., Path]) -> None:
    checkout(cluster(shard=2))
    with pytest.raises(
        UserError, match=r"launcher: torchrun and nodes: 1; .*\n  fix: start `python -m stages.pretrain`,"
    ):
        node.become_torchrun()


def test_an_external_rank_without_a_launcher_is_refused() -> None:
    with pytest.raises(UserError, match="RANK is not set, and this is not a task of srun"):
        external.find_rank()
