"""Durable, ordered, deduplicated queue of MLflow calls (transactional outbox).

A stage appends and continues; a thread sends. While the server is unreachable the thread retries with exponential
backoff. What is left when the process ends is sent by the next stage that starts (`Leftovers`). The offset reached is
saved after each batch. A batch whose response was lost is sent again unchanged, each metric with its time of
measurement, and MLflow's store identifies a metric by run, key, step, time and value.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from gptoss.core.atomic_files import write_json
from gptoss.core.progress import print_status

Entry = dict[str, Any]
Send = Callable[[list[Entry], str | None], str | None]
"""Sends entries, in order, to the run with this id; returns the id of the run that later entries belong to."""

# Entries per batch. A batch is also the unit of waiting: an outbox can only be released between two batches.
BATCH = 500
# Backoff doubles from one second to this.
LONGEST_PAUSE = 60.0
# A batch that takes longer counts as failing. MLflow's client retries internally and can block for minutes.
STUCK_SECONDS = 30.0
# How long an ending stage waits for a server that does not respond. The next stage sends the rest, so it is short.
PATIENCE_SECONDS = 5.0
# Longest time for which another stage holds an outbox, not counting a batch in progress. Its own stage may be starting
# again, and waits no longer than LOCK_SECONDS of mlflow_run.
HOLD_SECONDS = 3.0
# How long it then leaves the outbox to its own stage.
RELEASE_SECONDS = 1.0


class Outbox:
    """The queue of one stage run: entries in `NAME.jsonl`, offset and run id in `NAME.sent`, files in folder `NAME`.

    Raises `BlockingIOError` when another process has it open.
    """

    def __init__(self, file: Path, send: Send) -> None:
        self.file, self._send = file, send
        self._sent = file.with_suffix(".sent")
        self.files = file.with_suffix("")
        """Folder for files that entries refer to."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = _open_locked(file)
        state: dict[str, Any] = json.loads(self._sent.read_text()) if self._sent.exists() else {}
        self.run_id: str | None = state.get("run_id")
        self._offset = int(state.get("offset", 0))
        _drop_partial_line(file)
        self._progress_at = time.monotonic()
        self.failing: str | None = None
        """The last error; None while sending works."""
        self.answered = False
        """True when the last batch that this process sent has succeeded."""
        self._closing = self._abandoned = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"outbox {file.stem}", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Append an entry; the thread sends it."""
        with self._changed:
            if self._closing:
                raise ValueError(f"{self.file} is closed")
            self._stream.write(json.dumps(entry) + "\n")
            # To the kernel, which keeps it when this process is killed. No fsync: only a crash of the machine could
            # lose it, and an fsync per training step would cost more than the step of a small model.
            self._stream.flush()
            self._changed.notify()

    def entries(self) -> list[Entry]:
        """All entries since the file was created, sent or not."""
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]

    def wait_until_sent(self, patience: float = PATIENCE_SECONDS, longest: float = math.inf) -> bool:
        """Wait while sending succeeds, at most `longest` seconds, and at most `patience` seconds while it fails.
        Returns True when everything is sent."""
        start, failing_since = time.monotonic(), math.inf
        while self._unsent()[0]:
            now = time.monotonic()
            failing = self.failing or now - self._progress_at > STUCK_SECONDS
            failing_since = min(failing_since, now) if failing else math.inf
            if now - failing_since > patience or now - start > longest:
                return False
            with self._changed:
                self._changed.notify()
            time.sleep(0.05)
        return True

    def close(self, *, remove: bool, patience: float = PATIENCE_SECONDS, longest: float = math.inf) -> bool:
        """Wait as `wait_until_sent` does, then stop sending; with `remove`, delete the files if everything is sent.
        Returns True when everything is sent. Another process can open the outbox once a batch in progress has ended."""
        sent = self.wait_until_sent(patience, longest)
        with self._changed:
            self._abandoned, self._closing = not sent, True
            self._changed.notify()
        # The lock must outlive a batch in progress, or another process would send it too. So an outbox that is not
        # sent completely is closed by its thread (`_work`), which may end after this method.
        self._thread.join(PATIENCE_SECONDS if sent else RELEASE_SECONDS)
        if sent and remove:
            self.file.unlink(missing_ok=True)
            self._sent.unlink(missing_ok=True)
            shutil.rmtree(self.files, ignore_errors=True)
        if sent:
            self._stream.close()
        return sent

    def _work(self) -> None:
        self._send_all()
        if self._abandoned:
            self._stream.close()

    def _send_all(self) -> None:
        pause = 1.0
        while not self._closing:
            entries, offset = self._unsent()
            if not entries:
                self._progress_at = time.monotonic()
                with self._changed:
                    self._changed.wait(0.2)
                continue
            try:
                self.run_id = self._send(entries, self.run_id)
            except Exception as error:  # MLflow raises its own errors, and those of SQLAlchemy and requests
                if self.failing is None:
                    print_status(f"MLflow did not accept {self.file.stem} ({error}); it is kept and sent later")
                self.failing, self.answered = str(error), False
                self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            # After a kill between `_send` and this line the batch is sent again, which MLflow deduplicates.
            write_json(self._sent, {"offset": offset, "run_id": self.run_id})
            self._offset, self.failing, self.answered, pause = offset, None, True, 1.0
            self._progress_at = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closing and time.monotonic() < until:
            time.sleep(0.1)

    def _unsent(self) -> tuple[list[Entry], int]:
        """The next entries to send, at most `BATCH`, and the offset of their end. A `begin` is sent alone: the run id
        it returns is saved before anything else can fail and cause it to be sent again."""
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
    """Sends the outboxes that earlier stages have left, while a stage runs, once its own outbox shows that MLflow
    responds. Each is held for at most `HOLD_SECONDS` at a time, since the stage it belongs to may start again."""

    def __init__(self, own: Outbox, send: Send) -> None:
        self._own, self._send = own, send
        self._pending = [file for file in sorted(own.file.parent.glob("*.jsonl")) if file != own.file]
        self._rejected: set[Path] = set()
        """Outboxes that MLflow did not accept; tried again at the end."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="leftovers", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Send what is left, as long as MLflow accepts it."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        # As long as its own outbox fails, there is no point in trying others.
        while self._pending and not self._ending.wait(0.1):
            untried = [file for file in self._pending if file not in self._rejected]
            for file in untried if self._own.answered else []:
                self._send_some(file)
                if self._ending.wait(RELEASE_SECONDS):
                    break
        if self._pending and (self._own.answered or (not self._own.failing and self._own.wait_until_sent())):
            for file in list(self._pending):
                while self._send_some(file) and file in self._pending:
                    time.sleep(RELEASE_SECONDS)

    def _send_some(self, file: Path) -> bool:
        """Send some or all of an outbox. Returns False when another process has it open or MLflow did not accept it."""
        try:
            outbox = Outbox(file, self._send)
        except BlockingIOError:
            return False
        entries = outbox.entries()
        # The files of an unfinished run stay after sending: its next attempt reads the cursors in them.
        ended = not entries or entries[-1].get("status") == "FINISHED"
        if outbox.close(remove=ended, patience=HOLD_SECONDS, longest=HOLD_SECONDS):
            self._pending.remove(file)
        elif outbox.failing:
            self._rejected.add(file)
            return False
        return True


def _open_locked(file: Path) -> IO[str]:
    """Open the file for appending and lock it. Raises `BlockingIOError` when another process has locked it."""
    while True:
        stream = open(file, "a", encoding="utf-8")  # noqa: SIM115 - open for the run
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise
        # Between open and flock the previous owner may have deleted the file: then this lock protects nothing.
        if os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()


def _drop_partial_line(file: Path) -> None:
    """Remove a last line that a kill has cut off."""
    content = file.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(file, end)
