"""Show and log a run from the rows that rank 0 writes: progress line, warnings, MLflow metrics, loss plot.

The rows stay on disk, and each is logged exactly once whatever is restarted: a row has a position in the run,
(rollbacks, step, kind), and rows up to the last logged position are skipped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from gptoss.core.progress import SECONDS_BETWEEN_LINES, print_status
from gptoss.tracking.mlflow_run import StageRun
from gptoss.train.metrics_log import MetricsReader, Row
from gptoss.train.run_config import RunConfig

CURVES = ("loss", "learning_rate", "gradient_norm", "loss_scale", "skipped", "data_seconds")
FLOAT16_MAX = 65504.0
# Above this the residual stream overflows in float16 after two more doublings: early enough to act on a warning.
HIGH_ACTIVATION = FLOAT16_MAX / 4
# On a terminal the line is rewritten in place; faster than twice per second is unreadable.
TERMINAL_SECONDS = 0.5


class Monitor:
    """Follows the rows of one attempt."""

    def __init__(self, run_config: RunConfig, run: StageRun) -> None:
        self.run_config, self.run = run_config, run
        self.reader = MetricsReader(run_config.state, run_config.attempt)
        self.progress = ProgressLine(run_config)
        self.warned_layers: set[int] = set()
        # The position is kept by MLflow's outbox with the metrics themselves, so the two cannot disagree after a kill.
        self.logged_position: list[int] = run.last_cursor() or []
        self.unlogged: list[Row] = []
        """Training rows since the last one that was logged."""

    @property
    def training_started(self) -> bool:
        """True when the ranks have begun to train."""
        return self.reader.resumed is not None

    def update(self) -> None:
        """Show and log new rows."""
        header = self.reader.header
        for row in self.reader.new():
            # Rows up to the checkpoint were shown before the interruption; events are shown again as a reminder.
            if row["step"] > (self.reader.resumed or 0) or "event" in row:
                self.show(row)
            if position(row) > self.logged_position:
                self.log(row)
        if self.reader.header is not header:
            self.announce(self.reader.header)

    def announce(self, header: Row) -> None:
        """Print at which step the ranks start, and why they were restarted."""
        if header.get("restarted_because"):
            count = f"{header['restarts']} of {self.run_config.cluster.restarts}"
            print_status(f"pretrain: {header['restarted_because']}; all ranks started again ({count})")
        if header["resumed"]:
            print_status(f"pretrain: resumed after step {header['resumed']}")

    def show(self, row: Row) -> None:
        """Print loss spikes, activations close to the float16 limit, and the progress line."""
        if "event" in row:
            action = f"back to step {row['step']}" if row["event"] == "rollback" else "no update"
            step = row.get("from_step", row["step"])
            print_status(f"pretrain: step {step}: loss {row['loss']:.3f} is a spike: {action}")
            return
        if self.run_config.precision == "float16":
            self.warn_of_high_activations(row)
        self.progress.show(row)

    def warn_of_high_activations(self, row: Row) -> None:
        """Warn once per layer whose outputs come close to the largest float16. A maximum of None is not finite."""
        for layer, value in enumerate(row.get("activation_maxima", [])):
            if (value is None or value > HIGH_ACTIVATION) and layer not in self.warned_layers:
                self.warned_layers.add(layer)
                print_status(
                    f"pretrain: step {row['step']}: the outputs of layer {layer} reach {value or float('inf'):.0f}; "
                    f"float16 ends at {FLOAT16_MAX:.0f}: lower pretrain.learning_rate, or use bfloat16"
                )

    def log(self, row: Row) -> None:
        """Send a row to MLflow: every validation and event, and every `log_every_steps`-th training row."""
        if "event" in row:
            values: dict[str, Any] = {"spike_loss": row["loss"], "rollbacks": row["rollbacks"]}
        elif "validation_loss" in row:
            values = {"validation_loss": row["validation_loss"], "bits_per_byte": row["bits_per_byte"]}
        else:
            self.unlogged.append(row)
            # MLflow stores every point of every metric as a database row; a long run needs fewer than one per step.
            if row["step"] % self.run_config.cluster.log_every_steps:
                return
            values = {key: row[key] for key in CURVES} | dict(self.rates(row))
            values |= {f"tokens_{source}": tokens for source, tokens in row["source_tokens"].items()}
            self.unlogged = []
        self.logged_position = position(row)
        finite = {key: value for key, value in values.items() if value is not None}
        self.run.log_metrics(finite, step=row["step"], at=row["time"], cursor=self.logged_position)

    def rates(self, row: Row) -> Iterator[tuple[str, Any]]:
        """Speed, memory and activations over the steps since the last logged one."""
        seconds = sum(each["seconds"] for each in self.unlogged)
        tokens_per_second = self.run_config.settings.pretrain.batch_tokens * len(self.unlogged) / seconds
        header = self.reader.header
        yield "tokens_per_second", tokens_per_second
        yield "tokens_per_second_per_device", tokens_per_second / header["devices"]
        yield "mfu", tokens_per_second * header["flops_per_token"] / header["peak_flops"]
        yield "train_bits_per_byte", row["bits_per_byte_estimate"]
        yield "checkpoint_stall_seconds", sum(each["checkpoint_stall_seconds"] for each in self.unlogged)
        yield from (("checkpoint_seconds", each["checkpoint_seconds"]) for each in self.unlogged
                    if "checkpoint_seconds" in each)  # fmt: skip
        if "memory_bytes" in row:
            yield "memory_mib", row["memory_bytes"] / 2**20
        for layer, value in enumerate(row.get("activation_maxima", [])):
            yield f"activation_max/layer_{layer:02d}", value


def position(row: Row) -> list[int]:
    """Position of a row in its run; later rows have larger positions. Rollbacks come first, since a rollback goes back
    to an earlier step. A list, not a tuple: it is stored as JSON."""
    kind = 1 if "event" in row else 2 if "validation_loss" in row else 0
    return [row["rollbacks"], row["step"], kind]


class ProgressLine:
    """Step, loss, speed and remaining time: rewritten in place on a terminal, a line every few seconds elsewhere."""

    def __init__(self, run_config: RunConfig) -> None:
        self.steps, self.batch_tokens = run_config.settings.pretrain.steps, run_config.settings.pretrain.batch_tokens
        self.on_terminal = sys.stderr.isatty()
        self.shown_at = time.monotonic()
        self.seconds = 0.0
        self.rows = 0
        self.validation = ""

    def show(self, row: Row) -> None:
        """Take in a row; print when it is time to."""
        if "validation_loss" in row:
            self.validation = f", validation {row['bits_per_byte'] or float('nan'):.3f} bits/byte"
            return
        self.seconds += row["seconds"]
        self.rows += 1
        now = time.monotonic()
        interval = TERMINAL_SECONDS if self.on_terminal else SECONDS_BETWEEN_LINES
        if row["step"] != self.steps and now - self.shown_at < interval:
            return
        self.shown_at = now
        # The mean over the whole attempt: a mean over the last steps would jump at every validation and save.
        seconds_per_step = self.seconds / self.rows
        minutes, seconds = divmod(round((self.steps - row["step"]) * seconds_per_step), 60)
        text = (
            f"pretrain: step {row['step']}/{self.steps}, loss {row['loss'] or float('nan'):.3f}{self.validation}, "
            f"{self.batch_tokens / seconds_per_step:,.0f} tokens/s, {minutes}:{seconds:02d} left"
        )
        if self.on_terminal:
            # \033[K clears what a longer previous line has left over.
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
        else:
            print_status(text)

    def close(self) -> None:
        if self.on_terminal and self.rows:
            print_status("")


def log_plot(rows: list[Row], run: StageRun) -> None:
    """Log training and validation loss over the steps as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for key, style in (("loss", {"linewidth": 0.8}), ("validation_loss", {"marker": "o", "markersize": 3})):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None and "event" not in row]
        axes.plot(*zip(*points, strict=True), label=key.replace("_", " "), **style)
    for row in rows:
        if "event" in row:
            axes.axvline(row["step"], color="red", linewidth=0.5)
    axes.set(xlabel="step", ylabel="nats per token")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(run.state / "loss.png", dpi=120)
    run.log_artifact(run.state / "loss.png", "plots")
