"""What is to be told to MLflow, on the disk until MLflow has taken it: in order, and nothing twice.

A stage appends and goes on; a thread sends. When the server is away the thread tries again, ever less often; what is
left when the process ends is sent by the next start of any stage (`Leftovers`). How far sending has come is written
down after each batch. A batch whose answer was lost is sent again as it was, each metric with the time at which it was
measured, and MLflow's store knows a metric by run, key, step, time and value.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from gptoss.core.atomic_files import write_json

Entry = dict[str, Any]
Send = Callable[[list[Entry], str | None], str | None]
"""Sends entries, in order, to the run of this id, and returns the id of the run they are about now."""

BATCH = 500
LONGEST_PAUSE = 60.0
STUCK_SECONDS = 30.0
"""A batch that takes longer is taken for one that fails."""
PATIENCE_SECONDS = 5.0
"""How long an ending stage waits for a server that does not answer."""
HOLD_SECONDS = 3.0
"""The longest that another stage holds an outbox at a time, a batch that is under way aside."""
LET_GO_SECONDS = 1.0
"""How long it then leaves it to its own stage."""


class Outbox:
    """One stage's file of entries, `NAME.jsonl`, and beside it `NAME.sent`: how far they are sent, and to which run.

    Raises `BlockingIOError` when another process has it open.
    """

    def __init__(self, file: Path, send: Send) -> None:
        self.file, self._send = file, send
        self._sent = file.with_suffix(".sent")
        self.files = file.with_suffix("")
        """Folder for files that entries speak of."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = _locked(file)
        state: dict[str, Any] = json.loads(self._sent.read_text()) if self._sent.exists() else {}
        self.run_id: str | None = state.get("run_id")
        self._offset = int(state.get("offset", 0))
        _cut_broken_line(file)
        self._progress = time.monotonic()
        self.failing: str | None = None
        """What went wrong last; None while sending works."""
        self.answered = False
        """Whether MLflow has taken what this process told it last."""
        self._closing = self._lets_go = False
        self._put = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"outbox {file.stem}", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Append an entry; it is sent soon."""
        with self._put:
            if self._closing:
                raise ValueError(f"{self.file} is closed")
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()
            self._put.notify()

    def entries(self) -> list[Entry]:
        """All that was put since the file was made, sent or not."""
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]

    def wait_until_sent(self, patience: float = PATIENCE_SECONDS, longest: float = math.inf) -> bool:
        """Wait while sending goes on, `longest` seconds at most, and `patience` seconds while it fails; whether all is
        sent."""
        start, failing_since = time.monotonic(), math.inf
        while self._unsent()[0]:
            now = time.monotonic()
            failing = self.failing or now - self._progress > STUCK_SECONDS
            failing_since = min(failing_since, now) if failing else math.inf
            if now - failing_since > patience or now - start > longest:
                return False
            with self._put:
                self._put.notify()
            time.sleep(0.05)
        return True

    def close(self, *, remove: bool, patience: float = PATIENCE_SECONDS, longest: float = math.inf) -> bool:
        """Wait for what is not sent, as `wait_until_sent`; then end, and remove the files if all is sent. Another
        process can open the outbox once a batch that is under way has ended."""
        sent = self.wait_until_sent(patience, longest)
        with self._put:
            self._lets_go, self._closing = not sent, True
            self._put.notify()
        self._thread.join(PATIENCE_SECONDS if sent else LET_GO_SECONDS)
        if sent and remove:
            self.file.unlink(missing_ok=True)
            self._sent.unlink(missing_ok=True)
            shutil.rmtree(self.files, ignore_errors=True)
        if sent:
            self._stream.close()
        return sent

    def _work(self) -> None:
        self._send_all()
        if self._lets_go:
            self._stream.close()

    def _send_all(self) -> None:
        pause = 1.0
        while not self._closing:
            entries, offset = self._unsent()
            if not entries:
                self._progress = time.monotonic()
                with self._put:
                    self._put.wait(0.2)
                continue
            try:
                self.run_id = self._send(entries, self.run_id)
            except Exception as error:  # MLflow raises its own, SQLAlchemy's and requests' errors alike
                if self.failing is None:
                    print(f"MLflow does not take {self.file.stem} now ({error}); it is kept for later", file=sys.stderr)
                self.failing, self.answered = str(error), False
                self._rest(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            write_json(self._sent, {"offset": offset, "run_id": self.run_id})
            self._offset, self.failing, self.answered, pause = offset, None, True, 1.0
            self._progress = time.monotonic()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closing and time.monotonic() < until:
            time.sleep(0.1)

    def _unsent(self) -> tuple[list[Entry], int]:
        """The next entries to send, at most `BATCH`, and where they end. A `begin` is sent alone, so that its run is
        never made twice."""
        entries: list[Entry] = []
        with open(self.file, "rb") as stream:
            offset = stream.seek(self._offset)
            for line in stream:
                entry = json.loads(line) if line.endswith(b"\n") else None
                if entry is None or len(entries) == BATCH or (entries and "begin" in entry):
                    break
                entries.append(entry)
                offset += len(line)
                if "begin" in entry:
                    break
        return entries, offset


class Leftovers:
    """Sends what ended stages have left while a stage runs, once its own outbox shows that MLflow answers: one after
    the other, and each only `HOLD_SECONDS` at a time, since the stage that it belongs to may start again."""

    def __init__(self, own: Outbox, send: Send) -> None:
        self._own, self._send = own, send
        self._todo = [file for file in sorted(own.file.parent.glob("*.jsonl")) if file != own.file]
        self._refused: set[Path] = set()
        """What MLflow did not take; tried again in the end."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="leftovers", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Send what is left, as long as MLflow takes it."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        while self._todo and not self._ending.wait(0.1):
            waiting = [file for file in self._todo if file not in self._refused]
            for file in waiting if self._own.answered else []:
                self._hold(file)
                if self._ending.wait(LET_GO_SECONDS):
                    break
        if self._todo and (self._own.answered or (not self._own.failing and self._own.wait_until_sent())):
            for file in list(self._todo):
                while self._hold(file) and file in self._todo:
                    time.sleep(LET_GO_SECONDS)

    def _hold(self, file: Path) -> bool:
        """Send some or all of an outbox; whether it could be opened and MLflow took it."""
        try:
            outbox = Outbox(file, self._send)
        except BlockingIOError:
            return False
        entries = outbox.entries()
        ended = not entries or entries[-1].get("status") == "FINISHED"
        if outbox.close(remove=ended, patience=HOLD_SECONDS, longest=HOLD_SECONDS):
            self._todo.remove(file)
        elif outbox.failing:
            self._refused.add(file)
            return False
        return True


def _locked(file: Path) -> IO[str]:
    """The file, open at its end and locked. A file that its last owner has removed meanwhile is made anew."""
    while True:
        stream = open(file, "a", encoding="utf-8")  # noqa: SIM115 - open for the run
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise
        if os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()


def _cut_broken_line(file: Path) -> None:
    """Drop a last line that a kill cut short."""
    whole = file.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        with open(file, "r+b") as stream:
            stream.truncate(end)
