"""A stage as a child process: output line by line, and no orphan left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gptoss.core.errors import Preempted
from gptoss.pipeline.stage_graph import DVC

TAIL_LINES = 40
HOUSEKEEPING = (
    "Generating lock file",
    "Updating lock file",
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
)
"""What DVC says after every stage; not worth a line of a task's log."""
DEAF_TO_SIGTERM = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")
"""DVC would die of SIGTERM before its stage has saved, and without releasing its locks. An ignored signal stays ignored
in DVC and its shell; a stage takes it again."""
ASKED = "stopped on request"
"""How a stage begins what it says when it has saved and stopped (exit code 75, `gptoss.core.errors.Preempted`)."""


@dataclass(frozen=True)
class Outcome:
    """How `dvc repro --single-item` ended."""

    exit_code: int
    tail: tuple[str, ...]
    asked: bool = False
    """Whether we asked it to stop."""

    @property
    def kind(self) -> str:
        """`Failed`, `Stopped` (the same command continues), `Unchanged` (nothing to do), `Restored` (outputs from
        DVC's cache) or `Completed` (ran)."""
        if self.exit_code != 0:
            stopped = self.asked or any(f"exited with {Preempted.exit_code}" in line for line in self.tail)
            return "Stopped" if stopped else "Failed"
        if any("didn't change, skipping" in line for line in self.tail):
            return "Unchanged"
        if any("is cached - skipping run" in line for line in self.tail):
            return "Restored"
        return "Completed"

    @property
    def problem(self) -> str:
        """What to tell a person: the stage's own `error:` message when it gave one, else its last lines."""
        if self.kind == "Stopped":
            return next((line for line in self.tail if line.startswith(ASKED)), f"{ASKED}; the same command continues")
        for number, line in enumerate(self.tail):
            if line.startswith("error: "):
                message = [line.removeprefix("error: ")]
                message += [after for after in self.tail[number + 1 :] if not after.startswith("ERROR: failed to")]
                return "\n".join(message).strip()
        return "\n".join(self.tail[-8:]) or f"exit code {self.exit_code} without a word"


class StageProcesses:
    """Runs stages and can stop all that are running, each with its whole process group."""

    def __init__(self, environment: Mapping[str, str], grace_seconds: float) -> None:
        """`grace_seconds`: what a stage gets to save and stop before it is killed."""
        self._environment = dict(environment)
        self._grace_seconds = grace_seconds
        self._stopping = False
        # `dvc.yaml` says `python`: it must be the one that runs the flow, activated or not.
        self._environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        """`dvc repro --single-item STAGE`; `on_line` gets each line of its output as it comes. After `stop` nothing
        is started."""
        if self._stopping:
            return Outcome(Preempted.exit_code, (), asked=True)
        process = subprocess.Popen(
            [*DEAF_TO_SIGTERM, *DVC, "repro", "--single-item", stage],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=self._environment, start_new_session=True,
        )  # fmt: skip
        with self._lock:
            self._running.add(process)
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                text = line.rstrip()
                if text and not text.strip().startswith(HOUSEKEEPING):
                    tail.append(text)
                    on_line(text)
            return Outcome(process.wait(), tuple(tail), asked=self._stopping)
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Ask every stage to save and stop (SIGTERM); kill what is there after the grace period."""
        self._stopping = True
        for process in self._now_running():
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_seconds
        for process in self._now_running():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """SIGKILL to every process group; ranks and workers are tied to the processes that started them."""
        self._stopping = True
        for process in self._now_running():
            _signal_group(process, signal.SIGKILL)

    def _now_running(self) -> list[subprocess.Popen[str]]:
        with self._lock:
            return list(self._running)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
