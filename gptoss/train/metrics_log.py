"""The metrics log of a run, one JSON line per step: written by rank 0, followed by the parent, kept across resumes.

The first line (header) names the attempt that writes the file and the step it resumed from. A resumed attempt replaces
the file by the rows up to its checkpoint, so the curves of an interrupted run equal those of an undisturbed one. Times
and memory are in the rows for MLflow only; they never enter the tables in `reports/plots`, which must be deterministic.

Ranks do not log to MLflow themselves: an unreachable server must not stop training.
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

FILE = "rows.jsonl"
TRAINING = ("step", "tokens", "loss", "learning_rate", "gradient_norm", "loss_scale", "skipped")
"""Columns of `pretrain.csv`. `skipped` counts skipped steps so far; such a step has no gradient norm."""
VALIDATION = ("step", "tokens", "loss", "bits_per_byte")
"""Columns of `validation.csv`."""
CURVE_POINTS = 1_000  # beyond the horizontal resolution of a plot
FINAL_STEPS = 50  # the reported training loss is the mean over this many last steps: one step's is mostly noise


def path(state: Path) -> Path:
    """The log in a run's state folder."""
    return state / FILE


class StepTimes(NamedTuple):
    """Seconds of one step on rank 0."""

    step: float
    data: float
    """Waiting for the batch, included in `step`."""
    checkpoints: dict[str, float]
    """From `Checkpoints.take_seconds`."""


class MetricsWriter:
    """Rank 0's side of the log."""

    def __init__(
        self, run_config: RunConfig, resumed: int, train: TokenSplit, validation: TokenSplit, facts: dict[str, Any]
    ) -> None:
        """`resumed`: the step after which this attempt continues. `facts` about the attempt go into the header."""
        self.train_split, self.validation_split = train, validation
        self.batch_tokens = run_config.settings.pretrain.batch_tokens
        header = {"attempt": run_config.attempt, "resumed": resumed, **facts}
        lines = [header, *(row for row in read(run_config.state) if row["step"] <= resumed)]
        # Replaced rather than truncated: the parent notices the new inode and starts reading from the top.
        with atomic_file(path(run_config.state)) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.stream = open(path(run_config.state), "a", encoding="utf-8")  # noqa: SIM115 - open for the run

    def training(self, step: int, result: StepResult, source_tokens: dict[str, int], times: StepTimes) -> None:
        """Log a training step; `source_tokens` were read up to and including it, on all ranks together."""
        self._write({
            "step": step,
            "tokens": step * self.batch_tokens,
            "loss": _finite(result.loss),
            "learning_rate": result.learning_rate,
            "gradient_norm": _finite(result.gradient_norm),
            "loss_scale": result.loss_scale,
            "skipped": result.skipped,
            "bits_per_byte_estimate": _finite(bits_per_byte(result.loss, self.train_split)),
            "source_tokens": source_tokens,
            "rollbacks": result.rollbacks,
            "time": time.time(),
            "seconds": times.step,
            "data_seconds": times.data,
            **times.checkpoints,
            **_mesh_columns(result.mesh_stats),
        })  # fmt: skip

    def validation(self, step: int, loss: float, rollbacks: int) -> None:
        self._write({
            "step": step,
            "tokens": step * self.batch_tokens,
            "validation_loss": _finite(loss),
            "bits_per_byte": _finite(bits_per_byte(loss, self.validation_split)),
            "rollbacks": rollbacks,
            "time": time.time(),
        })  # fmt: skip

    def event(self, event: Row, rollbacks: int) -> None:
        """Log a spike and what was done about it. A rollback revokes the rows after its step."""
        # Synced at once: a rollback deletes checkpoints, and a kill must not lose its reason.
        self._write({**event, "rollbacks": rollbacks, "time": time.time()})
        self.sync()

    def sync(self) -> None:
        """Flush all rows so far to disk."""
        os.fsync(self.stream.fileno())

    def _write(self, row: Row) -> None:
        self.stream.write(json.dumps(row) + "\n")
        self.stream.flush()


def _mesh_columns(stats: MeshStats | None) -> Row:
    if stats is None:
        return {}
    maxima = [_finite(value) for value in stats.activation_maxima or ()]
    return {"memory_bytes": stats.memory_bytes} | ({"activation_maxima": maxima} if maxima else {})


def _finite(value: float) -> float | None:
    """None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def bits_per_byte(loss: float, split: TokenSplit) -> float:
    """Convert nats per token into bits per byte of text, by the token and byte counts of the whole split.

    An estimate, because the windows that are read are a sample of the split. `evaluate` computes the exact value over
    every held-out document.
    """
    return loss / math.log(2) * len(split) / split.bytes


def read(state: Path) -> list[Row]:
    """The rows on disk, without the header, revoked rows, and a last line that a kill cut short."""
    if not path(state).exists():
        return []
    rows: list[Row] = []
    for line in path(state).read_text(encoding="utf-8").split("\n")[1:]:
        # Rows are flushed whole, so only the last line can be incomplete.
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row.get("event") == "rollback":
            rows = [earlier for earlier in rows if earlier["step"] <= row["step"]]
        rows.append(row)
    return rows


class MetricsReader:
    """The parent's side: follows the log of one attempt while its ranks write it."""

    def __init__(self, state: Path, attempt: str) -> None:
        self.state, self.attempt = state, attempt
        self.header: Row = {}
        """Facts about the attempt; empty until its ranks have started to train."""
        self._stream: io.TextIOWrapper | None = None
        self._partial_line = ""

    @property
    def resumed(self) -> int | None:
        """The step the ranks resumed from; None until they have started to train."""
        return self.header.get("resumed")

    def new(self) -> Iterator[Row]:
        """Rows since the last call. After a (re)start of the ranks, all rows of the run, including those before their
        checkpoint: an earlier attempt may have been killed before those were logged."""
        if not self._open() or self._stream is None:
            return
        # The writer may be in the middle of a line.
        *lines, self._partial_line = (self._partial_line + self._stream.read()).split("\n")
        yield from map(json.loads, lines)

    def _open(self) -> bool:
        """Open the file once this attempt has created it, and again after restarted ranks have replaced it. A file of
        another attempt is not opened."""
        try:
            # Restarted ranks replace the file: its inode changes while ours stays readable.
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
        self._stream, self._partial_line, self.header = stream, "", header
        return True


def write_curves(rows: list[Row], plots: Path) -> None:
    """Write `pretrain.csv`, thinned evenly to about `CURVE_POINTS` rows plus the last step, and `validation.csv`."""
    training = [row for row in rows if "learning_rate" in row]
    every = max(1, len(training) // CURVE_POINTS)
    # By step number rather than position, so that a resumed run selects the same steps.
    thinned = [row for row in training if row["step"] % every == 0 or row is training[-1]]
    write_text(plots / "pretrain.csv", _csv(TRAINING, thinned))
    validation = [{**row, "loss": row["validation_loss"]} for row in rows if "validation_loss" in row]
    write_text(plots / "validation.csv", _csv(VALIDATION, validation))


def _csv(columns: tuple[str, ...], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary(rows: list[Row], train: TokenSplit) -> dict[str, Any]:
    """The deterministic metrics of a finished run, among them tokens and epochs per source."""
    training = [row for row in rows if "learning_rate" in row]
    validation = [row for row in rows if "validation_loss" in row][-1]
    last = training[-1]
    final_losses = [row["loss"] for row in training[-FINAL_STEPS:] if row["loss"] is not None]
    return {
        "steps": last["step"],
        "tokens": last["tokens"],
        "sources": {
            source: {"tokens": tokens, "epochs": tokens / train.sources[source]["tokens"]}
            for source, tokens in last["source_tokens"].items()
        },
        "train_loss": math.fsum(final_losses) / len(final_losses) if final_losses else None,
        "validation_loss": validation["validation_loss"],
        "validation_bits_per_byte": validation["bits_per_byte"],
        "skipped_steps": last["skipped"],
        "final_loss_scale": last["loss_scale"],
    }
