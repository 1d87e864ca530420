"""The metrics log across resumes and rollbacks, and the curves made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.launch import monitor
from gptoss.tables.token_files import TokenSplit
from gptoss.train import metrics_log
from gptoss.train.run_config import RunConfig
from gptoss.train.step import StepResult
from tests.training_runs import cluster


def write(run_config: RunConfig, resumed: int, steps: range) -> metrics_log.MetricsWriter:
    splits = (TokenSplit.open(Path("data/shards"), name) for name in ("train", "validation"))
    writer = metrics_log.MetricsWriter(run_config, resumed, *splits, {"restarts": 0})
    for step in steps:
        norm = math.nan if step == 3 else 0.5
        writer.training(
            step,
            StepResult(
                5.0 - step, norm, 8.0, 0.1, checkpoint_written=False, stop=False, save_due=False, skipped=int(step >= 3)
            ),
            {"web": 100 * step},
            metrics_log.StepTimes(step / 7, data=0.001, checkpoints={"checkpoint_stall_seconds": 0.0}),
        )
    writer.validation(steps[-1], math.log(2), rollbacks=0)
    writer.sync()
    return writer


def test_a_resume_drops_the_rows_after_the_checkpoint(make_run_config: Callable[..., RunConfig]) -> None:
    run_config = make_run_config(cluster())
    run_config.state.mkdir(parents=True)
    write(run_config, 0, range(1, 6))
    with open(metrics_log.path(run_config.state), "a") as stream:
        stream.write('{"step": 6, "lo')  # a kill in the middle of a line
    assert [row["step"] for row in metrics_log.read(run_config.state)] == [1, 2, 3, 4, 5, 5]

    reader = metrics_log.MetricsReader(run_config.state, "second")
    assert list(reader.new()) == [] and reader.resumed is None  # the first attempt's rows are not the second's
    second = run_config.model_copy(update={"attempt": "second"})
    write(second, 3, range(4, 7))
    assert [row["step"] for row in reader.new()] == [1, 2, 3, 4, 5, 6, 6]
    assert list(reader.new()) == [] and reader.resumed == 3
    write(second, 5, range(6, 8))  # the ranks were started again
    assert [row["step"] for row in reader.new()] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert [row["step"] for row in metrics_log.read(run_config.state)] == [1, 2, 3, 4, 5, 6, 7, 7]


def test_a_rollback_revokes_rows_and_positions_increase(make_run_config: Callable[..., RunConfig]) -> None:
    run_config = make_run_config(cluster())
    run_config.state.mkdir(parents=True)
    writer = write(run_config, 0, range(1, 6))
    writer.event({"event": "rollback", "step": 3, "from_step": 5, "loss": 9.0, "samples": [16, 40]}, rollbacks=1)
    writer.validation(4, 1.0, rollbacks=1)
    assert [row["step"] for row in metrics_log.read(run_config.state)] == [1, 2, 3, 3, 4]
    positions = [
        monitor.position(json.loads(line)) for line in metrics_log.path(run_config.state).read_text().splitlines()[1:]
    ]
    assert positions == sorted(positions)


def test_curves_hold_neither_timing_nor_nan(make_run_config: Callable[..., RunConfig]) -> None:
    run_config = make_run_config(cluster())
    run_config.state.mkdir(parents=True)
    write(run_config, 0, range(1, 5))
    measured = metrics_log.read(run_config.state)
    metrics_log.write_curves(measured, Path("plots"))
    training = Path("plots/pretrain.csv").read_text().splitlines()
    assert training[0] == "step,tokens,loss,learning_rate,gradient_norm,loss_scale,skipped"
    assert training[3:] == ["3,384,2.0,0.1,,8.0,1", "4,512,1.0,0.1,0.5,8.0,1"]
    assert Path("plots/validation.csv").read_text().splitlines()[1] == f"4,512,{math.log(2)},{1 / 3}"
    assert metrics_log.summary(measured, TokenSplit.open(Path("data/shards"), "train")) == {
        "steps": 4, "tokens": 512, "sources": {"web": {"tokens": 400, "epochs": 400 / 1161}},
        "train_loss": 2.5, "validation_loss": math.log(2),
        "validation_bits_per_byte": 1 / 3, "skipped_steps": 1, "final_loss_scale": 8.0,
    }  # fmt: skip


def test_a_long_run_has_a_thinned_curve() -> None:
    row = dict.fromkeys(metrics_log.TRAINING, 1.0)
    metrics_log.write_curves([row | {"step": step} for step in range(1, 2501)], Path("plots"))
    steps = [int(float(line.split(",")[0])) for line in Path("plots/pretrain.csv").read_text().splitlines()[1:]]
    assert len(steps) == 1250 and steps[0] == 2 and steps[-1] == 2500


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(workspace: Path) -> None:
    """Every test here writes files."""
