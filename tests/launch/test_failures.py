"""Failure reports of ranks, and the one error made of them."""

from __future__ import annotations

import errno
from pathlib import Path
from traceback import StackSummary

import pytest
from torch.distributed.checkpoint.api import CheckpointException

from gptoss.core.errors import ClusterError, DataError, PipelineError, Preempted
from gptoss.launch import failures
from gptoss.launch.failures import Failure
from gptoss.launch.torchrun_agent import first_death


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(workspace: Path) -> None:
    """Every test here writes files."""


def explain(*reports: Failure) -> PipelineError:
    state = Path("state")
    failures.clear(state)
    for each in reports:
        failures.report(state, each)
    return failures.explain(state, state / "ranks.log")


def test_the_failure_that_explains_the_others_is_raised() -> None:
    lost = failures.from_exception(RuntimeError("Connection closed by peer [127.0.0.1]:4711"), rank=0)
    died = Failure(rank=2, time=lost.time + 5, kind="died", problem="SIGKILL")
    known = failures.from_exception(DataError("too many skips", "lower the rate"), rank=3)
    assert explain(lost).problem.startswith("rank 0 lost the other ranks")
    error = explain(lost, died)
    assert isinstance(error, ClusterError) and error.problem == "rank 2 died (SIGKILL)" and "memory" in error.fix
    error = explain(lost, died, known)
    assert isinstance(error, DataError) and error.fix == "lower the rate"


def test_ranks_without_a_report_are_blamed_for_a_hang() -> None:
    """Whatever the others report; when all have reported, the one that is busy."""
    hangs = Failure(rank=0, time=1.0, kind="hangs", problem="6 s, in a.py:1 (f)")
    waits = Failure(rank=2, time=0.0, kind="waits", problem="6 s, in b.py:2 (g)")
    explain(hangs, waits)
    blamed = [failures.explain(Path("state"), Path("log"), size).problem for size in (3, 0)]
    assert blamed[0].startswith("rank 1 hangs (stopped, or stuck in the kernel): no step finished within 6 s")
    assert blamed[1].startswith("rank 0 hangs: no step finished within 6 s, in a.py:1 (f)")


def test_the_rank_that_a_signal_ended_died_first() -> None:
    assert (first_death({0: 1, 1: -9, 2: -15}).rank, first_death({0: 1, 1: -9}).problem) == (1, "SIGKILL")
    assert (first_death({0: 1, 2: -15}).rank, first_death({3: 1}).problem) == (0, "exit code 1")


def test_a_full_disk_is_found_inside_the_exception_of_a_library() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.distcp")
    wrapped = CheckpointException("write", {1: (full, StackSummary())})
    for error in (full, wrapped, chained(full)):
        explained = explain(failures.from_exception(error, 1))
        assert "no space left on the device while writing x.distcp" in explained.problem


def chained(cause: Exception) -> Exception:
    try:
        raise RuntimeError("writer failed") from cause
    except RuntimeError as error:
        return error


def test_a_rank_exits_with_the_code_of_its_error() -> None:
    """An error while the run stops is not a preemption: nothing was saved."""
    stopping = RuntimeError("sealing failed")
    stopping.__context__ = Preempted("stopped on request", "go on")
    errors = DataError("p", "f"), ClusterError("p", "f"), OSError(errno.ENOSPC, "full", "x"), ValueError("v"), stopping
    assert [failures.from_exception(error, 1).exit_code for error in errors] == [3, 4, 4, 1, 1]


def test_a_bug_shows_its_traceback() -> None:
    error = explain(failures.from_exception(chained(ValueError("shapes differ")), 1))
    assert type(error) is PipelineError and "ValueError: shapes differ" in error.problem


def test_without_reports_the_end_of_the_log_is_shown() -> None:
    Path("state").mkdir()
    Path("state/ranks.log").write_text("No module named torch")
    failures.clear(Path("state"))
    assert "No module named torch" in failures.explain(Path("state"), Path("state/ranks.log")).problem


def test_a_disk_too_full_for_a_report_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "REPORT_BYTES", 2**80)
    assert "no space left on the device" in explain().problem
