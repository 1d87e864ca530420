"""A stage as a child process: output line by line, and no orphan left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.dag import DVC

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
GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """How `dvc repro --single-item` ended."""

    exit_code: int
    tail: tuple[str, ...]

    @property
    def kind(self) -> str:
        """`Failed`, `Unchanged` (nothing to do), `Restored` (outputs from DVC's cache) or `Completed` (ran)."""
        if self.exit_code != 0:
            return "Failed"
        if any("didn't change, skipping" in line for line in self.tail):
            return "Unchanged"
        if any("is cached - skipping run" in line for line in self.tail):
            return "Restored"
        return "Completed"

    @property
    def problem(self) -> str:
        """What to tell a person: the stage's own `error:` message when it gave one, else its last lines."""
        for number, line in enumerate(self.tail):
            if line.startswith("error: "):
                message = [line.removeprefix("error: ")]
                message += [after for after in self.tail[number + 1 :] if not after.startswith("ERROR: failed to")]
                return "\n".join(message).strip()
        return "\n".join(self.tail[-8:]) or f"exit code {self.exit_code} without a word"


class StageProcesses:
    """Runs stages and can end all that are running, each with its whole process group."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        # `dvc.yaml` says `python`: it must be the one that runs the flow, activated or not.
        self._environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, stage: str, on_line: Callable[[str], None]) -> Outcome:
        """`dvc repro --single-item STAGE`; `on_line` gets each line of its output as it comes."""
        process = subprocess.Popen(
            [*DVC, "repro", "--single-item", stage],
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
            return Outcome(process.wait(), tuple(tail))
        finally:
            with self._lock:
                self._running.discard(process)

    def terminate(self) -> None:
        """SIGTERM to every process group, SIGKILL to those that are there after the grace period."""
        with self._lock:
            running = list(self._running)
        for process in running:
            _signal_group(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
