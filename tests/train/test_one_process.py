"""What sharding cost, measured by a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.train import one_process
from gptoss.train.one_process import on_one_process, sharding_cost
from gptoss.train.run_config import RunConfig
from tests.train.conftest import cluster

ROWS = [{"step": step, "learning_rate": 1e-3, "seconds": 1.0 if step > 3 else 60.0} for step in range(1, 7)]


@pytest.fixture
def plan(checkout: Callable[..., Path], tiny: Callable[..., Settings], tmp_path: Path) -> Callable[..., RunConfig]:
    """The plan of a run on two ranks."""

    def make(**changes: object) -> RunConfig:
        on = cluster(pp=2, one_process_steps=3)
        checkout(on)
        return RunConfig(settings=tiny(**changes), cluster=on, precision="float32", state=tmp_path, attempt="one")

    return make


@pytest.mark.slow
def test_the_cost_is_what_the_last_steps_lack_to_the_speed_of_one_process(plan: Callable[..., RunConfig]) -> None:
    cost = sharding_cost(plan(), ROWS)
    alone = cost["tokens_per_second_of_one_process"]
    assert alone > 0
    assert cost["sharding_cost"] == pytest.approx(1 - (8 * 16 / 1.0) / alone)


def test_one_process_gets_the_threads_of_all(plan: Callable[..., RunConfig]) -> None:
    alone = on_one_process(plan())
    assert alone.cluster.threads_per_process == 2 and alone.cluster.mesh.size == 1
    assert alone.layout.sequences_per_rank == plan().layout.sequences


@pytest.mark.slow
def test_a_model_that_one_process_cannot_train_is_no_error(
    plan: Callable[..., RunConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    made = plan()
    Path("data/shards/train-00001.bin").unlink()
    assert sharding_cost(made, ROWS) == {}
    assert "what sharding cost is not known: one process failed" in capsys.readouterr().err


def test_a_process_that_is_too_slow_is_not_waited_for(
    plan: Callable[..., RunConfig], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_process, "START_SECONDS", -9.9)
    assert sharding_cost(plan(), ROWS) == {}
    assert "one process did not take its steps within 0 s, as if other programs used" in capsys.readouterr().err


def test_without_a_mesh_there_is_nothing_to_compare(plan: Callable[..., RunConfig]) -> None:
    assert sharding_cost(on_one_process(plan()), ROWS) == {}
