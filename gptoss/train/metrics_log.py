"""What a run measured, one JSON line a step: written by rank 0, followed by the parent, kept across resumes.

The first line says which attempt writes the file and from which step it resumed. A resumed attempt replaces the file
by the rows up to its checkpoint, so the curves of an interrupted run are those of an undisturbed one. Seconds and
memory are in the rows for MLflow; they never reach the tables in `reports/plots`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gptoss.core.atomic_files import atomic_file, write_text
from gptoss.tables.token_files import TokenSplit
from gptoss.train.run_config import RunConfig

if TYPE_CHECKING:
    from gptoss.train.step import MeshStats, StepResult

Row = dict[str, Any]

ROWS = "rows.jsonl"
TRAINING = ("step", "tokens", "loss", "learning_rate", "gradient_norm", "loss_scale", "skipped")
"""Columns of `pretrain.csv`. `skipped` counts the skipped steps so far; a skipped step has no gradient norm."""
VALIDATION = ("step", "tokens", "loss", "bits_per_byte")
"""Columns of `validation.csv`."""
CURVE_POINTS = 1_000
FINAL_STEPS = 50
"""The final training loss is the mean over this many steps."""


def path(state: Path) -> Path:
    """Where the rows of a run are."""
    return state / ROWS


class Seconds(NamedTuple):
    """Times of one step on rank 0."""

    step: float
    data: float
    """Waiting for the batch, a part of `step`."""
    checkpoints: dict[str, float]
    """What `Checkpoints.seconds_spent` says."""


class RowWriter:
    """Rank 0's side."""

    def __init__(
        self, plan: RunConfig, resumed: int, train: TokenSplit, validation: TokenSplit, facts: dict[str, Any]
    ) -> None:
        """`facts` are of the whole attempt; they stand in the first line."""
        self.train, self.validation_split = train, validation
        kept = [row for row in read(plan.state) if row["step"] <= resumed]
        self.batch_tokens = plan.settings.pretrain.batch_tokens
        with atomic_file(path(plan.state)) as partial:
            header = {"attempt": plan.attempt, "resumed": resumed, **facts}
            partial.write_text("".join(json.dumps(line) + "\n" for line in [header, *kept]))
        self.stream = open(path(plan.state), "a", encoding="utf-8")  # noqa: SIM115 - open for the run

    def training(self, step: int, measured: StepResult, source_tokens: dict[str, int], seconds: Seconds) -> None:
        """One training step; `source_tokens` were read up to and with it, on all ranks together."""
        norm = measured.gradient_norm
        self._write({
            "step": step,
            "tokens": step * self.batch_tokens,
            "loss": _number(measured.loss),
            "learning_rate": measured.rate,
            "gradient_norm": _number(norm),
            "loss_scale": measured.loss_scale,
            "skipped": measured.skipped,
            "bits_per_byte_estimate": _number(bits_per_byte(measured.loss, self.train)),
            "source_tokens": source_tokens,
            "rollbacks": measured.rollbacks,
            "time": time.time(),
            "seconds": seconds.step,
            "data_seconds": seconds.data,
            **seconds.checkpoints,
            **_wide(measured.wide),
        })  # fmt: skip

    def validation(self, step: int, loss: float, rollbacks: int) -> None:
        """One validation, as `{"step", "tokens", "validation_loss", "bits_per_byte"}`."""
        self._write({
            "step": step,
            "tokens": step * self.batch_tokens,
            "validation_loss": _number(loss),
            "bits_per_byte": _number(bits_per_byte(loss, self.validation_split)),
            "rollbacks": rollbacks,
            "time": time.time(),
        })  # fmt: skip

    def event(self, event: Row, rollbacks: int) -> None:
        """A spike and what was done about it. A rollback takes back the rows after its step."""
        self._write({**event, "rollbacks": rollbacks, "time": time.time()})
        self.sync()

    def sync(self) -> None:
        """All rows so far are on the disk when this returns."""
        os.fsync(self.stream.fileno())

    def _write(self, row: Row) -> None:
        self.stream.write(json.dumps(row) + "\n")
        self.stream.flush()


def _wide(wide: MeshStats | None) -> Row:
    if wide is None:
        return {}
    maxima = wide.activation_maxima
    known = {"activation_maxima": [_number(value) for value in maxima]} if maxima else {}
    return {"memory_bytes": wide.memory_bytes, **known}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def bits_per_byte(loss: float, split: TokenSplit) -> float:
    """Nats a token as bits a byte of text, by the tokens and bytes of the whole split.

    The windows that are read are a sample of the split, so this is an estimate; `evaluate` computes the exact figure
    over every held-out document.
    """
    return loss / math.log(2) * len(split) / split.bytes


def read(state: Path) -> list[Row]:
    """The rows on the disk, without the header, those taken back, and a line that a kill cut short."""
    if not path(state).exists():
        return []
    rows: list[Row] = []
    for line in path(state).read_text(encoding="utf-8").split("\n")[1:]:
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row.get("event") == "rollback":
            rows = [kept for kept in rows if kept["step"] <= row["step"]]
        rows.append(row)
    return rows


class RowReader:
    """The parent's side: what the ranks of one attempt have written since the last look."""

    def __init__(self, state: Path, attempt: str) -> None:
        self.state, self.attempt = state, attempt
        self.header: Row = {}
        """The facts of the attempt; empty until its ranks are ready."""
        self._stream: io.TextIOWrapper | None = None
        self._cut = ""

    @property
    def resumed(self) -> int | None:
        """The step the ranks resumed from; None until they are ready."""
        return self.header.get("resumed")

    def new(self) -> Iterator[Row]:
        """Rows since the last look. When ranks start (again), all rows of the run, those before their checkpoint too:
        an earlier attempt may have been killed before these were logged."""
        if not self._found() or self._stream is None:
            return
        *lines, self._cut = (self._cut + self._stream.read()).split("\n")
        for line in lines:
            yield json.loads(line)

    def _found(self) -> bool:
        """Open the file once this attempt has made it, and again when ranks that were started again have replaced it;
        an older attempt's is left alone."""
        try:
            if self._stream and os.path.samestat(path(self.state).stat(), os.fstat(self._stream.fileno())):
                return True
            stream = open(path(self.state), encoding="utf-8")  # noqa: SIM115 - open for the run
        except FileNotFoundError:
            return self._stream is not None
        header = json.loads(stream.readline() or "{}")
        if header.get("attempt") != self.attempt:
            stream.close()
            return self._stream is not None
        if self._stream:
            self._stream.close()
        self._stream, self._cut, self.header = stream, "", header
        return True


def write_curves(rows: list[Row], plots: Path) -> None:
    """`pretrain.csv` (thinned evenly to about `CURVE_POINTS`, the last step always kept) and `validation.csv`."""
    training = [row for row in rows if "learning_rate" in row]
    every = max(1, len(training) // CURVE_POINTS)
    thinned = [row for row in training if row["step"] % every == 0 or row is training[-1]]
    write_text(plots / "pretrain.csv", _table(TRAINING, thinned))
    validation = [{**row, "loss": row["validation_loss"]} for row in rows if "validation_loss" in row]
    write_text(plots / "validation.csv", _table(VALIDATION, validation))


def _table(columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row[column] is None else row[column] for column in columns])
    return text.getvalue()


def summary(rows: list[Row], train: TokenSplit) -> dict[str, Any]:
    """The deterministic figures of a finished run, among them how often each source was read through."""
    training = [row for row in rows if "learning_rate" in row]
    validation = [row for row in rows if "validation_loss" in row][-1]
    final = [row["loss"] for row in training[-FINAL_STEPS:] if row["loss"] is not None]
    return {
        "steps": training[-1]["step"],
        "tokens": training[-1]["tokens"],
        "sources": {
            source: {"tokens": tokens, "epochs": tokens / train.sources[source]["tokens"]}
            for source, tokens in training[-1]["source_tokens"].items()
        },
        "train_loss": math.fsum(final) / len(final) if final else None,
        "validation_loss": validation["validation_loss"],
        "validation_bits_per_byte": validation["bits_per_byte"],
        "skipped_steps": training[-1]["skipped"],
        "final_loss_scale": training[-1]["loss_scale"],
    }
