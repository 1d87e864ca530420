"""Failure reports of ranks, and the one error that the launcher makes of them.

When one rank fails, the others fail afterwards because their connections break. Each rank writes a report to
`state/failures`. The launcher raises the report with the most information: first a known error, then a bug, then a
death, then a lost connection; among equals the earliest.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from gptoss.core.atomic_files import read_json, write_text
from gptoss.core.errors import ClusterError, DataError, PipelineError, Preempted, UserError, from_os_error

KNOWN: dict[str, type[PipelineError]] = {
    kind.__name__: kind for kind in (Preempted, UserError, DataError, ClusterError)
}
# A hang is listed before a bug: once a watchdog ends its rank, the others report broken connections or bugs that are
# only consequences. Kinds that are not listed here are known errors and come first.
PRIORITY = {"hangs": 1, "waits": 2, "bug": 3, "died": 4, "connection": 5}
# A report is about 1 kB plus the traceback. With less free space than this a rank may have been unable to write one.
REPORT_BYTES = 2**16
LOG_TAIL_LINES = 15
# gloo, NCCL and the TCP store raise plain RuntimeErrors; only the text tells a lost peer from a bug.
LOST_CONNECTION = ("connection closed by peer", "connection reset", "broken pipe", "timed out", "connection refused")


@dataclass(frozen=True)
class Failure:
    """One rank's report, or the launcher's report about one rank."""

    rank: int
    time: float
    """Seconds of the epoch."""
    kind: str
    """`Preempted`, `UserError`, `DataError`, `ClusterError`; from the watchdog `hangs` or `waits`; `bug`; `died`;
    `connection`."""
    problem: str
    fix: str = ""
    trace: str = ""

    @property
    def priority(self) -> tuple[int, float]:
        """Sort key: the smallest explains the most."""
        return PRIORITY.get(self.kind, 0), self.time

    @property
    def exit_code(self) -> int:
        """Exit code of the rank."""
        return KNOWN.get(self.kind, PipelineError).exit_code


def from_exception(error: BaseException, rank: int) -> Failure:
    """Describe an exception by the known error it was raised from, if there is one.

    An error raised while the run was stopping has `Preempted` in its context but is not a preemption: nothing was
    saved. So `Preempted` counts only when it is the exception itself.
    """
    now = time.time()
    for cause in causes(error):
        known = from_os_error(cause) if isinstance(cause, OSError) else cause
        if isinstance(known, PipelineError) and (cause is error or not isinstance(known, Preempted)):
            return Failure(rank, now, type(known).__name__, known.problem, known.fix)
    text = f"{type(error).__name__}: {error}"
    kind = "connection" if any(sign in text.lower() for sign in LOST_CONNECTION) else "bug"
    return Failure(rank, now, kind, text, trace="".join(traceback.format_exception(error)))


def causes(error: BaseException) -> list[BaseException]:
    """An exception and all exceptions that it was raised from or contains, breadth first."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        # `__cause__` and `__context__` may form cycles, hence the second condition.
        if not isinstance(item, BaseException) or item in found:
            continue
        found.append(item)
        # torch.distributed.checkpoint's CheckpointException keeps `{rank: (exception, stack)}` instead of a cause.
        wrapped = getattr(item, "failures", {})
        queue += [item.__cause__, item.__context__, *(f[0] for f in wrapped.values() if isinstance(f, tuple))]
    return found


def folder(state: Path) -> Path:
    """Folder of the reports."""
    return state / "failures"


def clear(state: Path) -> None:
    """Delete the reports of an earlier attempt."""
    shutil.rmtree(folder(state), ignore_errors=True)
    folder(state).mkdir(parents=True)


def report(state: Path, failure: Failure) -> None:
    """Write a report. A death is reported by the launcher in its own file: the rank may have written one before it."""
    # write_text is atomic, so the launcher never reads half a report of a rank that is killed meanwhile.
    name = "launcher" if failure.kind == "died" else f"rank-{failure.rank}"
    write_text(folder(state) / f"{name}.json", json.dumps(asdict(failure)))


def read(state: Path, pattern: str = "*.json") -> list[Failure]:
    """All reports, or those whose file name matches `pattern`."""
    return [Failure(**read_json(path)) for path in folder(state).glob(pattern)]


def preemption(state: Path) -> Preempted | None:
    """The report of rank 0 when the run stopped on request, else None."""
    for failure in read(state, "rank-0.json"):
        if failure.kind == Preempted.__name__:
            return Preempted(failure.problem, failure.fix)
    return None


def any_rank_reported(state: Path) -> bool:
    """True when some rank has failed or stopped and written its report."""
    return any(folder(state).glob("rank-*.json"))


def ranks_without_report(state: Path, world_size: int) -> list[int]:
    """Ranks that wrote no report although others did: killed by a signal, or suspended. Empty without any report."""
    reported = {int(path.stem.removeprefix("rank-")) for path in folder(state).glob("rank-*.json")}
    return [rank for rank in range(world_size) if rank not in reported] if reported else []


def is_permanent(state: Path) -> bool:
    """True when a rank failed because of the configuration or the data: a restart would fail again."""
    return any(failure.kind in (UserError.__name__, DataError.__name__) for failure in read(state, "rank-*.json"))


def restart_reason(state: Path, world_size: int) -> str:
    """Why the ranks were restarted, in a few words."""
    silent = ranks_without_report(state, world_size)
    if len(silent) == 1:
        return f"rank {silent[0]} died or hung"
    return explain(state, state / "ranks.log", world_size).problem.splitlines()[0].rstrip(":")


def explain(state: Path, log: Path, world_size: int = 0) -> PipelineError:
    """The one error that is shown to a person, made of all reports. `log` is the output of all ranks."""
    failures = read(state)
    if not failures:
        return _without_reports(state, log)
    first = min(failures, key=lambda failure: failure.priority)
    if first.kind in KNOWN:
        return KNOWN[first.kind](first.problem, first.fix)
    if first.kind in ("hangs", "waits"):
        return _hang(first, ranks_without_report(state, world_size), log)
    if first.kind == "died":
        return ClusterError(
            f"rank {first.rank} died ({first.problem})",
            "SIGKILL is how the kernel ends a process when memory runs out: if it did, lower micro_batch or the number "
            f"of processes in the cluster file. The same command continues from the last checkpoint. Log: {log}",
        )
    if first.kind == "connection":
        return ClusterError(
            f"rank {first.rank} lost the other ranks ({first.problem.splitlines()[0]})",
            "check whether a machine or its network is down; the same command continues from the last checkpoint. "
            f"Log: {log}",
        )
    return PipelineError(
        f"rank {first.rank} failed: {first.problem}\n{first.trace}", f"this is a bug; the log of all ranks is {log}"
    )


def _without_reports(state: Path, log: Path) -> PipelineError:
    full = from_os_error(OSError(errno.ENOSPC, "", str(state)))
    if full and shutil.disk_usage(state).free < REPORT_BYTES:
        return full
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]) if log.exists() else ""
    return ClusterError(f"the ranks ended without reporting why:\n{tail}", f"see {log}")


def _hang(first: Failure, silent: list[int], log: Path) -> ClusterError:
    """`silent` ranks did not even run their watchdog: they hang, and the reports of the others are consequences."""
    who = f"rank {first.rank} hangs" if first.kind == "hangs" else "all ranks wait for each other"
    if silent:
        who = f"rank {', '.join(map(str, silent))} hangs (stopped, or stuck in the kernel)"
    return ClusterError(
        f"{who}: no step finished within {first.problem}",
        f"see the stacks of all ranks in {log} and the machine of that rank; raise watchdog_seconds in the cluster "
        "file if steps may take that long. The same command continues from the last checkpoint",
    )
