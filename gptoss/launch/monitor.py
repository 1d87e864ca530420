"""What a person and MLflow see of a run, from the rows that rank 0 writes.

The rows are on the disk, and each is logged once, whatever was restarted: a row has a place in the run, (rollbacks,
step, kind), and what is not after the last place that was logged is not logged again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptoss.core.progress import SECONDS_BETWEEN_LINES
from gptoss.tracking.mlflow_run import StageRun
from gptoss.train.metrics_log import Row, RowReader
from gptoss.train.run_config import RunConfig

CURVES = ("loss", "learning_rate", "gradient_norm", "loss_scale", "skipped", "data_seconds")
FLOAT16_MAX = 65504.0
HIGH_ACTIVATION = FLOAT16_MAX / 4
"""Above this the residual stream has two more doublings before it overflows in float16."""


class Observer:
    """Follows the rows of one attempt."""

    def __init__(self, plan: RunConfig, run: StageRun) -> None:
        self.plan, self.run = plan, run
        self.reader = RowReader(plan.state, plan.attempt)
        self.line = ProgressLine(plan)
        self.warned: set[int] = set()
        self.logged: list[int] = run.last_mark() or []
        self.since: list[Row] = []
        """Training rows since the last one that was logged."""

    @property
    def ready(self) -> bool:
        """Whether the ranks have begun to train."""
        return self.reader.resumed is not None

    def look(self) -> None:
        """Show and log what is new."""
        known = self.reader.header
        for row in self.reader.new():
            if row["step"] > (self.reader.resumed or 0) or "event" in row:
                self.show(row)
            if place(row) > self.logged:
                self.log(row)
        if self.reader.header is not known:
            self.announce(self.reader.header)

    def announce(self, header: Row) -> None:
        """Say where the ranks begin, and why they did so again."""
        if header.get("restarted_because"):
            print(
                f"pretrain: {header['restarted_because']}; all ranks started again "
                f"({header['restarts']} of {self.plan.cluster.restarts})", file=sys.stderr, flush=True,
            )  # fmt: skip
        if header["resumed"]:
            print(f"pretrain: resumed after step {header['resumed']}", file=sys.stderr, flush=True)

    def show(self, row: Row) -> None:
        """The progress line, spikes, and activations that come near the end of float16."""
        if "event" in row:
            what = f"back to step {row['step']}" if row["event"] == "rollback" else "no update"
            step = row.get("from_step", row["step"])
            print(f"pretrain: step {step}: loss {row['loss']:.3f} is a spike: {what}", file=sys.stderr, flush=True)
            return
        if self.plan.precision == "float16":
            for layer, value in enumerate(row.get("activation_maxima", [])):
                if (value is None or value > HIGH_ACTIVATION) and layer not in self.warned:
                    self.warned.add(layer)
                    print(
                        f"pretrain: step {row['step']}: layer {layer} puts out values up to "
                        f"{value or float('inf'):.0f}; float16 ends at {FLOAT16_MAX:.0f}: lower "
                        "pretrain.learning_rate, or use bfloat16",
                        file=sys.stderr, flush=True,
                    )  # fmt: skip
        self.line.show(row)

    def log(self, row: Row) -> None:
        """Send a row to MLflow: every validation and event, and each `log_every_steps`-th step."""
        if "event" in row:
            values: dict[str, Any] = {"spike_loss": row["loss"], "rollbacks": row["rollbacks"]}
        elif "validation_loss" in row:
            values = {"validation_loss": row["validation_loss"], "bits_per_byte": row["bits_per_byte"]}
        else:
            self.since.append(row)
            if row["step"] % self.plan.cluster.log_every_steps:
                return
            values = {key: row[key] for key in CURVES} | dict(self.rates(row))
            values |= {f"tokens_{source}": tokens for source, tokens in row["source_tokens"].items()}
            self.since = []
        known = {key: value for key, value in values.items() if value is not None}
        self.logged = place(row)
        self.run.metrics(known, step=row["step"], at=row["time"], mark=self.logged)

    def rates(self, row: Row) -> Iterator[tuple[str, Any]]:
        """Speed, memory and activations, over the steps since those that were logged last."""
        seconds = sum(each["seconds"] for each in self.since)
        tokens = self.plan.settings.pretrain.batch_tokens * len(self.since) / seconds
        header = self.reader.header
        yield "tokens_per_second", tokens
        yield "tokens_per_second_per_device", tokens / header["devices"]
        yield "mfu", tokens * header["flops_a_token"] / header["peak_flops"]
        yield "train_bits_per_byte", row["bits_per_byte_estimate"]
        yield "checkpoint_stall_seconds", sum(each["checkpoint_stall_seconds"] for each in self.since)
        yield from ((key, each[key]) for each in self.since for key in ("checkpoint_seconds",) if key in each)
        if "memory_bytes" in row:
            yield "memory_mib", row["memory_bytes"] / 2**20
        for layer, value in enumerate(row.get("activation_maxima", [])):
            yield f"activation_max/layer_{layer:02d}", value

    def close(self) -> None:
        """End the progress line."""
        self.line.close()


def place(row: Row) -> list[int]:
    """Where a row stands in its run; later rows have larger places."""
    kind = 1 if "event" in row else 2 if "validation_loss" in row else 0
    return [row["rollbacks"], row["step"], kind]


class ProgressLine:
    """Step, loss, speed and remaining time: rewritten in place on a terminal, a line every few seconds elsewhere."""

    def __init__(self, plan: RunConfig) -> None:
        self.steps, self.batch_tokens = plan.settings.pretrain.steps, plan.settings.pretrain.batch_tokens
        self.live = sys.stderr.isatty()
        self.shown = time.monotonic()
        self.seconds = 0.0
        self.count = 0
        self.validation = ""

    def show(self, row: Row) -> None:
        """Take in a row; print when it is time to."""
        if "validation_loss" in row:
            self.validation = f", validation {row['bits_per_byte'] or float('nan'):.3f} bits/byte"
            return
        self.seconds += row["seconds"]
        self.count += 1
        now = time.monotonic()
        last = row["step"] == self.steps
        if not last and now - self.shown < (0.5 if self.live else SECONDS_BETWEEN_LINES):
            return
        self.shown = now
        each = self.seconds / self.count
        left = round((self.steps - row["step"]) * each)
        text = (
            f"pretrain: step {row['step']}/{self.steps}, loss {row['loss'] or float('nan'):.3f}{self.validation}, "
            f"{self.batch_tokens / each:,.0f} tokens/s, {left // 60}:{left % 60:02d} left"
        )
        print(f"\r{text}\033[K" if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self.live and self.count:
            print(file=sys.stderr)


def plot(rows: list[Row], file: Path) -> None:
    """Training and validation loss over the steps, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for key, style in (("loss", {"linewidth": 0.8}), ("validation_loss", {"marker": "o", "markersize": 3})):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None and "event" not in row]
        axes.plot(*zip(*points, strict=True), label=key.replace("_", " "), **style)
    for row in rows:
        if "event" in row:
            axes.axvline(row["step"], color="red", linewidth=0.5)
    axes.set(xlabel="step", ylabel="nats a token")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
