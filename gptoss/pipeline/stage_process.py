"""Stages as child processes: output line by line, a stop that lets them save, and no orphans."""

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

# Last lines of output kept for the message of a failed stage.
TAIL_LINES = 40
# What DVC prints after every stage; left out of the logs of tasks.
HOUSEKEEPING = (
    "Generating lock file",
    "Updating lock file",
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
)
# DVC would die of SIGTERM before its stage has saved, and without releasing its locks. An ignored signal stays ignored
# across exec, so DVC and its shell survive it; only the stage installs a handler again.
IGNORE_SIGTERM = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")
# Beginning of the message of a stage that has saved and stopped (exit code 75, `gptoss.core.errors.Preempted`).
STOPPED = "stopped on request"


@dataclass(frozen=True)
class Outcome:
    """How `dvc repro --single-item` ended."""

    exit_code: int
    tail: tuple[str, ...]
    stop_requested: bool = False
    """Whether this process asked it to stop."""

    @property
    def kind(self) -> str:
        """`Failed`, `Stopped` (the same command continues), `Unchanged` (nothing to do), `Restored` (outputs from
        DVC's cache) or `Completed` (ran)."""
        if self.exit_code != 0:
            # DVC exits with 255 for any failure; the exit code of the stage is in its message.
            stopped = self.stop_requested or any(f"exited with {Preempted.exit_code}" in line for line in self.tail)
            return "Stopped" if stopped else "Failed"
        # DVC has no machine-readable outcome of `repro`, only these messages.
        if any("didn't change, skipping" in line for line in self.tail):
            return "Unchanged"
        if any("is cached - skipping run" in line for line in self.tail):
            return "Restored"
        return "Completed"

    @property
    def problem(self) -> str:
        """The message for a person: the stage's own `error:` message if it printed one, otherwise its last lines."""
        if self.kind == "Stopped":
            return next(
                (line for line in self.tail if line.startswith(STOPPED)), f"{STOPPED}; the same command continues"
            )
        for number, line in enumerate(self.tail):
            if line.startswith("error: "):
                message = [line.removeprefix("error: ")]
                message += [after for after in self.tail[number + 1 :] if not after.startswith("ERROR: failed to")]
                return "\n".join(message).strip()
        return "\n".join(self.tail[-8:]) or f"exit code {self.exit_code} without any output"


class StageProcesses:
    """Runs stages, each in its own process group, and stops all that are running."""

    def __init__(self, environment: Mapping[str, str], grace_seconds: float) -> None:
        """`grace_seconds`: how long a stage may take to save and stop before it is killed."""
        self._environment = dict(environment)
        self._grace_seconds = grace_seconds
        self._stopping = False
        # dvc.yaml says `python`, which must be this interpreter, even if its environment is not activated.
        self._environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        """Run `dvc repro --single-item STAGE`; `on_line` receives each line of output as it appears. After
        `stop` nothing is started."""
        if self._stopping:
            return Outcome(Preempted.exit_code, (), stop_requested=True)
        process = subprocess.Popen(
            # A session of its own, so that one signal reaches DVC, its shell, the stage and all its children.
            [*IGNORE_SIGTERM, *DVC, "repro", "--single-item", stage],
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
            return Outcome(process.wait(), tuple(tail), stop_requested=self._stopping)
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Ask every stage to save and stop (SIGTERM); kill those that still run after the grace period."""
        self._stopping = True
        for process in self._now_running():
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_seconds
        for process in self._now_running():  # one deadline for all of them: they save at the same time
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to every process group. Ranks and workers in groups of their own die with their parents
        (`core.process.die_with_parent`)."""
        self._stopping = True
        for process in self._now_running():
            _signal_group(process, signal.SIGKILL)

    def _now_running(self) -> list[subprocess.Popen[str]]:
        # Stages run in threads of Prefect: another one may start or end meanwhile.
        with self._lock:
            return list(self._running)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
