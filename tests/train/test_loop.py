"""The loop of one rank, in this process: when it stops, what it counts, and when its heartbeat stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from gptoss.core.errors import Preempted
from gptoss.core.signals import StopRequest
from gptoss.launch.watchdog import Watchdog
from gptoss.models.decoder import parameter_count
from gptoss.train import loop, metrics_log
from gptoss.train.parallel_context import init_parallel_context
from gptoss.train.run_config import RunConfig
from gptoss.train.step import Trainer
from tests.training_runs import cluster, free_port


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`train(run_config, stop, on_step)`: a whole run; `on_step(step)` is called in each step and may return a factor
    on its loss."""
    for key, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(key, str(value))

    def run(run_config: RunConfig, stop: StopRequest, on_step: Callable[[int], Any] = lambda step: None) -> None:
        class CallbackTrainer(Trainer):
            def forward_backward(self, step: int, factor: float) -> Tensor:
                return super().forward_backward(step, factor) * (on_step(step) or 1.0)

        monkeypatch.setattr(loop, "Trainer", CallbackTrainer)
        run_config.state.mkdir(parents=True, exist_ok=True)
        with init_parallel_context(run_config.cluster) as parallel:
            watchdog = Watchdog(run_config.cluster.watchdog_seconds, run_config.state, parallel.rank)
            loop.train(run_config, parallel, stop, watchdog, {"restarts": 0})

    return run


def test_a_request_during_a_step_stops_after_that_step(
    make_run_config: Callable[..., RunConfig], train: Callable[..., None]
) -> None:
    run_config = make_run_config(cluster())
    stop = StopRequest(lambda: None)
    with pytest.raises(Preempted, match="stopped on request after step 3"):
        train(run_config, stop, lambda step: stop.handle(15, None) if step == 3 else None)
    assert [path.name for path in Path(run_config.state / "checkpoints").iterdir()] == ["step-00000003"]


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_the_row_of_a_spike_counts_the_skipped_update(
    policy: str, make_run_config: Callable[..., RunConfig], train: Callable[..., None]
) -> None:
    """By policy, or because no checkpoint is old enough for a rollback."""
    spikes = {"policy": policy, "threshold": 6.0, "window": 4, "rollback_steps": 7, "max": 9}
    run_config = make_run_config(
        cluster(), **{"pretrain.steps": 8, "pretrain.spikes": spikes, "pretrain.validate_every": 8}
    )
    train(run_config, StopRequest(lambda: None), lambda step: 9.0 if step == 6 else None)
    measured = metrics_log.read(run_config.state)
    assert [(row["event"], row["step"]) for row in measured if "event" in row] == [("skip", 6)]
    assert [row["skipped"] for row in measured if "learning_rate" in row] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_the_watchdog_is_stopped_before_the_export(
    make_run_config: Callable[..., RunConfig], train: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export may take any time, and the timeout of the other ranks grows with the weights."""
    alive: dict[str, set[str]] = {}

    def threads(at: str) -> None:
        time.sleep(0.2)
        alive[at] = {thread.name for thread in threading.enumerate()}

    run_config = make_run_config(cluster(watchdog_seconds=600.0), **{"pretrain.steps": 3})
    monkeypatch.setattr(loop, "export", lambda *_: threads("export"))
    train(run_config, StopRequest(lambda: None), lambda step: threads("step") if step == 2 else None)
    assert "watchdog" in alive["step"] - alive["export"]
    monkeypatch.setattr(loop, "EXPORT_BYTES_PER_SECOND", 1.0)
    weights = parameter_count(run_config.settings.model, run_config.vocab_size)
    assert (loop.export_timeout(run_config) - loop.COLLECTIVE_TIMEOUT).total_seconds() == 4 * weights
