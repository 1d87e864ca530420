"""How a failing rank tells the parent what happened, and how the parent makes one message of it.

When one rank fails, the others fail after it because it is gone. Each leaves a note in `state/failures`; the one that
explains the most is shown: a known error first, then our own bug, then a death, then a lost connection; among equals
the first in time.
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
NOTE_BYTES = 2**16
"""With less free space than this a rank may have been unable to leave a note."""
LOST_CONNECTION = ("connection closed by peer", "connection reset", "broken pipe", "timed out", "connection refused")


@dataclass(frozen=True)
class Failure:
    """What one rank, or the launcher about one rank, reports."""

    rank: int
    time: float
    kind: str
    """`Preempted`, `UserError`, `DataError`, `ClusterError`; by the watchdog `hangs` or `waits`; `bug`; `died`;
    `connection`."""
    problem: str
    fix: str = ""
    trace: str = ""

    @property
    def weight(self) -> tuple[int, float]:
        """Sort key: the smallest explains the most."""
        order = {"hangs": 1, "waits": 2, "bug": 3, "died": 4, "connection": 5}
        return order.get(self.kind, 0), self.time

    @property
    def exit_code(self) -> int:
        """With which the rank ends."""
        return KNOWN.get(self.kind, PipelineError).exit_code


def of(error: BaseException, rank: int) -> Failure:
    """Describe an exception, looking through what libraries wrapped around it. One that came while the run was stopping
    is described as itself."""
    now = time.time()
    for cause in causes(error):
        known = from_os_error(cause) if isinstance(cause, OSError) else cause
        if isinstance(known, PipelineError) and (cause is error or not isinstance(known, Preempted)):
            return Failure(rank, now, type(known).__name__, known.problem, known.fix)
    text = f"{type(error).__name__}: {error}"
    lost = any(sign in text.lower() for sign in LOST_CONNECTION)
    return Failure(
        rank, now, "connection" if lost else "bug", text, trace="".join(traceback.format_exception(error))
    )  # fmt: skip


def causes(error: BaseException) -> list[BaseException]:
    """An exception and all that it was raised from or holds, outermost first."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or item in found:
            continue
        found.append(item)
        held = getattr(item, "failures", {})  # torch.distributed.checkpoint's CheckpointException
        waiting += [item.__cause__, item.__context__, *(f[0] for f in held.values() if isinstance(f, tuple))]
    return found


def folder(state: Path) -> Path:
    """Where the notes are."""
    return state / "failures"


def clear(state: Path) -> None:
    """Forget an earlier attempt's notes."""
    shutil.rmtree(folder(state), ignore_errors=True)
    folder(state).mkdir(parents=True)


def report(state: Path, failure: Failure) -> None:
    """Leave a note."""
    name = "launcher" if failure.kind == "died" else f"rank-{failure.rank}"
    write_text(folder(state) / f"{name}.json", json.dumps(asdict(failure)))


def stopped(state: Path) -> Preempted | None:
    """What rank 0 said when it stopped on request; None when it did not."""
    note = folder(state) / "rank-0.json"
    if not note.exists():
        return None
    said = Failure(**read_json(note))
    return Preempted(said.problem, said.fix) if said.kind == Preempted.__name__ else None


def any_told(state: Path) -> bool:
    """Whether some rank has failed, or stopped, and left a note."""
    return any(folder(state).glob("rank-*.json"))


def silent(state: Path, size: int) -> list[int]:
    """The ranks that left no note, of those that failed together: ended by a signal, or stopped."""
    told = {int(path.stem.removeprefix("rank-")) for path in folder(state).glob("rank-*.json")}
    return [rank for rank in range(size) if rank not in told] if told else []


def hopeless(state: Path) -> bool:
    """Whether the ranks failed at what would fail again: the request or the data."""
    notes = [Failure(**read_json(path)) for path in folder(state).glob("rank-*.json")]
    return any(note.kind in (UserError.__name__, DataError.__name__) for note in notes)


def restart_reason(state: Path, size: int) -> str:
    """Why the ranks were started again, in a few words."""
    gone = silent(state, size)
    if len(gone) == 1:
        return f"rank {gone[0]} died or hung"
    return explain(state, state / "ranks.log", "", size).problem.splitlines()[0].rstrip(":")


def explain(state: Path, log: Path, checkpoint: str, size: int = 0) -> PipelineError:
    """The one error that a person sees. `size` is the number of ranks."""
    notes = [Failure(**read_json(path)) for path in folder(state).glob("*.json")]
    if not notes:
        full = from_os_error(OSError(errno.ENOSPC, "", str(state)))
        if full and shutil.disk_usage(state).free < NOTE_BYTES:
            return full
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
        return ClusterError(f"the ranks ended without saying why:\n{tail}", f"see {log}")
    first = min(notes, key=lambda note: note.weight)
    if first.kind in KNOWN:
        return KNOWN[first.kind](first.problem, first.fix)
    if first.kind in ("hangs", "waits"):
        who = f"rank {first.rank} hangs" if first.kind == "hangs" else "all ranks wait for each other"
        if gone := silent(state, size):  # what the others do follows from that
            who = f"rank {', '.join(map(str, gone))} hangs (stopped, or stuck in the kernel)"
        return ClusterError(
            f"{who}: no step finished within {first.problem}",
            f"see the stacks of all ranks in {log} and the machine of that rank; raise watchdog_seconds in the cluster "
            f"file if steps may take so long. The same command continues {checkpoint}",
        )
    if first.kind == "died":
        return ClusterError(
            f"rank {first.rank} died ({first.problem})",
            "SIGKILL is how the kernel ends a process when memory runs out: lower micro_batch or the number of "
            f"processes in the cluster file if it did. The same command continues {checkpoint}. Log: {log}",
        )
    if first.kind == "connection":
        return ClusterError(
            f"rank {first.rank} lost the other ranks ({first.problem.splitlines()[0]})",
            f"see whether a machine or its network is down; the same command continues {checkpoint}. Log: {log}",
        )
    return PipelineError(
        f"rank {first.rank} failed: {first.problem}\n{first.trace}", f"this is a bug; the log of all ranks is {log}"
    )
