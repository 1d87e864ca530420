"""Loss spikes: a step whose loss is far above those before it, and what is done about it.

A spike is a loss above the mean of the `window` losses before it by `threshold` standard deviations. The loss is the
same number on every rank, so each finds the spike by itself and all act alike; what they compare with is in every
checkpoint, so a resumed run finds the same spikes.

`skip` makes no update from that step, as OLMo-core's `SkipStepAdamW` (OLMo et al. 2024) does. `rollback` goes back to
a checkpoint and reads on without the batches that led to the spike (Chowdhery et al. 2022, PaLM, section 5.1). Batches
are numbered as an undisturbed run reads them; those left out are kept as ranges of samples.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError

Event = dict[str, Any]


class Spikes:
    """Finds spikes and remembers what was done about them. The same on every rank."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.sequences = settings.pretrain.spikes, settings.sequences_per_step
        self.losses: deque[float] = deque(maxlen=self.settings.window)
        self.skipped = 0
        """Steps without an update for a spike, on the way to the present step."""
        self.events: list[Event] = []
        """Every spike that was treated, those before a rollback too."""

    @property
    def rollbacks(self) -> int:
        """How often the run went back."""
        return sum(event["event"] == "rollback" for event in self.events)

    def found(self, loss: float) -> bool:
        """Whether the loss of a step is a spike; one that is not is remembered, to compare later ones with."""
        if self.settings.policy == "none":
            return False
        if len(self.losses) == self.settings.window:
            mean, deviation = statistics.fmean(self.losses), statistics.stdev(self.losses)
            if loss > mean + self.settings.threshold * deviation:
                return True
        self.losses.append(loss)
        return False

    def skip(self, step: int, loss: float) -> Event:
        """Record that `step` makes no update. Raises `DataError` after `max` spikes."""
        event = {"event": "skip", "step": step, "loss": loss}
        self._record(event, step)
        self.skipped += 1
        return event

    def roll_back(self, step: int, loss: float, restored: int, state: dict[str, Any]) -> Event:
        """Record that the run went from the spike at `step` back to the checkpoint of `restored`, whose `state` it
        takes over. Raises `DataError` after `max` spikes."""
        first, last = self.batch(max(restored, step - self.settings.rollback_steps) + 1), self.batch(step)
        samples = [(first - 1) * self.sequences, last * self.sequences]
        event = {"event": "rollback", "step": restored, "from_step": step, "loss": loss, "samples": samples}
        events = self.events
        self.restore(state)
        self.events = events
        self._record(event, step)
        return event

    def _record(self, event: Event, step: int) -> None:
        if len(self.events) >= self.settings.max:
            raise DataError(
                f"step {step}: loss {event['loss']:.3f} is spike number {len(self.events) + 1}, pretrain.spikes.max is "
                f"{self.settings.max}",
                "lower pretrain.learning_rate, lengthen pretrain.warmup_steps, look at the samples of the events in "
                "the checkpoint's manifest, or raise pretrain.spikes.max",
            )
        self.events.append(event)

    def batch(self, step: int) -> int:
        """The number of the batch that `step` reads: its own, and one more for every batch left out before it."""
        number = step
        for first, last in self._left_out():
            if number >= first:
                number += last - first + 1
        return number

    def _left_out(self) -> list[tuple[int, int]]:
        """First and last batch of each range that is left out, in order, apart from each other."""
        ranges = sorted(event["samples"] for event in self.events if event["event"] == "rollback")
        merged: list[tuple[int, int]] = []
        for start, stop in ranges:
            first, last = start // self.sequences + 1, stop // self.sequences
            if merged and first <= merged[-1][1] + 1:
                first, last = merged[-1][0], max(last, merged.pop()[1])
            merged.append((first, last))
        return merged

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"losses": list(self.losses), "skipped": self.skipped, "events": self.events}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.losses = deque(state["losses"], maxlen=self.settings.window)
        self.skipped, self.events = int(state["skipped"]), list(state["events"])
        assert all(math.isfinite(loss) for loss in self.losses)
