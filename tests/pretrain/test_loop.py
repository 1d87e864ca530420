"""The loop of one rank, in this process: when it stops, what it counts, and when its watchdog rests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from stages.errors import Preempted
from stages.pretrain import loop
from stages.pretrain.mesh import joined
from stages.pretrain.plan import Plan
from stages.pretrain.stop import StopRequest
from stages.pretrain.train import Trainer
from tests.pretrain.conftest import cluster, free_port


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`train(plan, stop, disturb)`: a whole run; `disturb(step)` is called in each forward pass."""
    for key, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(key, str(value))

    def run(plan: Plan, stop: StopRequest, disturb: Callable[[int], Any] = lambda step: None) -> None:
        class Disturbed(Trainer):
            def backward(self, step: int, factor: float) -> Tensor:
                disturb(step)
                return super().backward(step, factor)

        monkeypatch.setattr(loop, "Trainer", Disturbed)
        plan.state.mkdir(parents=True, exist_ok=True)
        with joined(plan.cluster) as ranks:
            loop.train(plan, ranks, stop, {"restarts": 0})

    return run


def test_a_request_during_a_step_stops_after_that_step(plan: Callable[..., Plan], train: Callable[..., None]) -> None:
    made = plan(cluster())
    stop = StopRequest(lambda: None)
    with pytest.raises(Preempted, match="stopped on request after step 3"):
        train(made, stop, lambda step: stop.take(15, None) if step == 3 else None)
    assert [path.name for path in Path(made.state / "checkpoints").iterdir()] == ["step-00000003"]
