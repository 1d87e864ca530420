"""Detects loss spikes, steps whose loss is far above the previous ones, and records what was done about them.

A spike is a loss more than `threshold` standard deviations above the mean of the previous `window` losses. The loss is
equal on every rank, so all ranks detect a spike at the same step without communication; the window is in every
checkpoint, so a resumed run detects the same spikes.

`skip` makes no update from that step, as OLMo-core's `SkipStepAdamW` does (OLMo et al. 2024). `rollback` restores an
earlier checkpoint and skips the batches that led to the spike (Chowdhery et al. 2022, PaLM, section 5.1). Batches are
numbered as an undisturbed run reads them; skipped ones are recorded as ranges of samples.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError

Event = dict[str, Any]


class SpikeDetector:
    """Detects spikes and keeps their history. Equal on every rank."""

    def __init__(self, settings: Settings) -> None:
        self.config = settings.pretrain.spikes
        self.sequences = settings.pretrain.sequences_per_step(settings.model.context)
        self.losses: deque[float] = deque(maxlen=self.config.window)
        self.skipped = 0
        """Updates skipped for a spike on the path to the current step; a rollback restores an earlier count."""
        self.events: list[Event] = []
        """Every handled spike, including those before a rollback."""

    @property
    def rollbacks(self) -> int:
        return sum(event["event"] == "rollback" for event in self.events)

    def is_spike(self, loss: float) -> bool:
        """Whether the loss of a step is a spike. Other losses enter the window; a spike does not, or it would raise the
        threshold for the next one."""
        if self.config.policy == "none":
            return False
        if len(self.losses) == self.config.window:
            # Python floats in a fixed order: the verdict is bitwise equal on every rank and after a resume.
            mean, deviation = statistics.fmean(self.losses), statistics.stdev(self.losses)
            if loss > mean + self.config.threshold * deviation:
                return True
        self.losses.append(loss)
        return False

    def record_skip(self, step: int, loss: float) -> Event:
        """Record that `step` made no update. Raises `DataError` after `max` spikes."""
        event = {"event": "skip", "step": step, "loss": loss}
        self._record(event, step)
        self.skipped += 1
        return event

    def record_rollback(self, step: int, loss: float, restored: int, state: dict[str, Any]) -> Event:
        """Record that the spike at `step` was undone by restoring the checkpoint of step `restored`, and load its
        `state`. Raises `DataError` after `max` spikes."""
        # At most `rollback_steps` batches are skipped, even where the checkpoint is older; those before them are read
        # again.
        first = self.batch_number(max(restored, step - self.config.rollback_steps) + 1)
        samples = [(first - 1) * self.sequences, self.batch_number(step) * self.sequences]
        event = {"event": "rollback", "step": restored, "from_step": step, "loss": loss, "samples": samples}
        self.load_state_dict(state | {"events": self.events})  # the checkpoint does not know the later events
        self._record(event, step)
        return event

    def _record(self, event: Event, step: int) -> None:
        # Events survive rollbacks, so a run that spikes at every attempt ends instead of looping.
        if len(self.events) >= self.config.max:
            raise DataError(
                f"step {step}: loss {event['loss']:.3f} is spike number {len(self.events) + 1}, pretrain.spikes.max is "
                f"{self.config.max}",
                "lower pretrain.learning_rate, lengthen pretrain.warmup_steps, look at the samples of the events in "
                "the checkpoint's manifest, or raise pretrain.spikes.max",
            )
        self.events.append(event)

    def batch_number(self, step: int) -> int:
        """Number of the batch that `step` reads: the step itself plus the batches skipped before it."""
        number = step
        for first, last in self._skipped_batches():
            if number >= first:
                number += last - first + 1
        return number

    def _skipped_batches(self) -> list[tuple[int, int]]:
        """First and last batch of each skipped range, sorted, with adjacent and overlapping ranges merged."""
        ranges = sorted(event["samples"] for event in self.events if event["event"] == "rollback")
        merged: list[tuple[int, int]] = []
        for start, stop in ranges:
            first, last = start // self.sequences + 1, stop // self.sequences
            # A second rollback may span an already skipped range, which must not shift later batches twice.
            if merged and first <= merged[-1][1] + 1:
                first, last = merged[-1][0], max(last, merged.pop()[1])
            merged.append((first, last))
        return merged

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint's manifest."""
        return {"losses": list(self.losses), "skipped": self.skipped, "events": self.events}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.losses = deque(state["losses"], maxlen=self.config.window)
        self.skipped, self.events = int(state["skipped"]), list(state["events"])
        assert all(math.isfinite(loss) for loss in self.losses)
