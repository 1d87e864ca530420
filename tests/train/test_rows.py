"""Rows of measurements across a resume, the curves made of them, and the one message made of many failures."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from traceback import StackSummary

import pytest
from torch.distributed.checkpoint.api import CheckpointException

from gptoss.core.errors import ClusterError, DataError, PipelineError, Preempted
from gptoss.launch import failures, monitor
from gptoss.launch.failures import Failure
from gptoss.launch.torchrun_agent import death
from gptoss.tables.token_files import TokenSplit
from gptoss.train import metrics_log
from gptoss.train.run_config import RunConfig
from gptoss.train.step import StepResult
from tests.train.conftest import cluster


def write(plan: RunConfig, resumed: int, steps: range) -> metrics_log.RowWriter:
    splits = (TokenSplit.open(Path("data/shards"), name) for name in ("train", "validation"))
    writer = metrics_log.RowWriter(plan, resumed, *splits, {"restarts": 0})
    for step in steps:
        norm = math.nan if step == 3 else 0.5
        writer.training(
            step,
            StepResult(5.0 - step, norm, 8.0, 0.1, written=False, stop=False, save=False, skipped=int(step >= 3)),
            {"web": 100 * step},
            metrics_log.Seconds(step / 7, data=0.001, checkpoints={"checkpoint_stall_seconds": 0.0}),
        )
    writer.validation(steps[-1], math.log(2), rollbacks=0)
    writer.sync()
    return writer


def test_a_resume_drops_what_came_after_the_checkpoint(plan: Callable[..., RunConfig]) -> None:
    made = plan(cluster())
    made.state.mkdir(parents=True)
    write(made, 0, range(1, 6))
    with open(metrics_log.path(made.state), "a") as stream:
        stream.write('{"step": 6, "lo')  # a kill in the middle of a line
    assert [row["step"] for row in metrics_log.read(made.state)] == [1, 2, 3, 4, 5, 5]

    reader = metrics_log.RowReader(made.state, "second")
    assert list(reader.new()) == [] and reader.resumed is None  # the first attempt's rows are not the second's
    second = made.model_copy(update={"attempt": "second"})
    write(second, 3, range(4, 7))
    assert [row["step"] for row in reader.new()] == [1, 2, 3, 4, 5, 6, 6]
    assert list(reader.new()) == [] and reader.resumed == 3
    write(second, 5, range(6, 8))  # the ranks were started again
    assert [row["step"] for row in reader.new()] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert [row["step"] for row in metrics_log.read(made.state)] == [1, 2, 3, 4, 5, 6, 7, 7]


def test_a_rollback_takes_rows_back_and_each_row_has_a_later_place(plan: Callable[..., RunConfig]) -> None:
    made = plan(cluster())
    made.state.mkdir(parents=True)
    writer = write(made, 0, range(1, 6))
    writer.event({"event": "rollback", "step": 3, "from_step": 5, "loss": 9.0, "samples": [16, 40]}, rollbacks=1)
    writer.validation(4, 1.0, rollbacks=1)
    assert [row["step"] for row in metrics_log.read(made.state)] == [1, 2, 3, 3, 4]
    places = [monitor.place(json.loads(line)) for line in metrics_log.path(made.state).read_text().splitlines()[1:]]
    assert places == sorted(places)


def test_curves_hold_no_timing_and_no_number_that_is_none(plan: Callable[..., RunConfig]) -> None:
    made = plan(cluster())
    made.state.mkdir(parents=True)
    write(made, 0, range(1, 5))
    measured = metrics_log.read(made.state)
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


def told(*notes: Failure) -> PipelineError:
    state = Path("state")
    failures.clear(state)
    for note in notes:
        failures.report(state, note)
    return failures.explain(state, state / "ranks.log", "from the last checkpoint")


def test_the_failure_that_explains_the_others_is_shown() -> None:
    lost = failures.of(RuntimeError("Connection closed by peer [127.0.0.1]:4711"), rank=0)
    died = Failure(rank=2, time=lost.time + 5, kind="died", problem="SIGKILL")
    known = failures.of(DataError("too many skips", "lower the rate"), rank=3)
    assert told(lost).problem.startswith("rank 0 lost the other ranks")
    error = told(lost, died)
    assert isinstance(error, ClusterError) and error.problem == "rank 2 died (SIGKILL)" and "memory" in error.fix
    error = told(lost, died, known)
    assert isinstance(error, DataError) and error.fix == "lower the rate"


def test_silent_ranks_are_blamed_before_those_that_wait_for_them() -> None:
    """Whatever the others seem to do; without a silent rank, the one that is busy."""
    hangs = Failure(rank=0, time=1.0, kind="hangs", problem="6 s, in a.py:1 (f)")
    waits = Failure(rank=2, time=0.0, kind="waits", problem="6 s, in b.py:2 (g)")
    told(hangs, waits)
    blamed = [failures.explain(Path("state"), Path("log"), "", size).problem for size in (3, 0)]
    assert blamed[0].startswith("rank 1 hangs (stopped, or stuck in the kernel): no step finished within 6 s")
    assert blamed[1].startswith("rank 0 hangs: no step finished within 6 s, in a.py:1 (f)")


def test_the_rank_that_a_signal_ended_is_the_dead_one() -> None:
    assert (death({0: 1, 1: -9, 2: -15}).rank, death({0: 1, 1: -9}).problem) == (1, "SIGKILL")
    assert (death({0: 1, 2: -15}).rank, death({3: 1}).problem) == (0, "exit code 1")


def test_a_full_disk_is_found_inside_what_a_library_made_of_it() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.distcp")
    wrapped = CheckpointException("write", {1: (full, StackSummary())})
    for error in (full, wrapped, chained(full)):
        assert "no space left on the device while writing x.distcp" in told(failures.of(error, 1)).problem


def chained(cause: Exception) -> Exception:
    try:
        raise RuntimeError("writer failed") from cause
    except RuntimeError as error:
        return error


def test_a_rank_ends_with_the_code_of_its_error() -> None:
    """Also of what goes wrong while it stops: then nothing was saved."""
    stopping = RuntimeError("sealing failed")
    stopping.__context__ = Preempted("stopped on request", "go on")
    errors = DataError("p", "f"), ClusterError("p", "f"), OSError(errno.ENOSPC, "full", "x"), ValueError("v"), stopping
    assert [failures.of(error, 1).exit_code for error in errors] == [3, 4, 4, 1, 1]


def test_a_bug_shows_its_traceback() -> None:
    error = told(failures.of(chained(ValueError("shapes differ")), 1))
    assert type(error) is PipelineError and "ValueError: shapes differ" in error.problem


def test_ranks_that_never_started_show_the_log() -> None:
    Path("state").mkdir()
    Path("state/ranks.log").write_text("No module named torch")
    failures.clear(Path("state"))
    assert "No module named torch" in failures.explain(Path("state"), Path("state/ranks.log"), "").problem


def test_a_disk_too_full_for_a_note_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "NOTE_BYTES", 2**80)
    assert "no space left on the device" in told().problem
