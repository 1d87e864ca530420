"""The batches of a run: read from the memory-mapped shards by a thread, ahead of the step that needs them.

Which tokens a step reads is a pure function of (seed, step), whatever the mesh: `order.py` says in which order the
windows of a range come, `mixture.py` from which source each sample comes. The step is the only state, so a run resumes
on any mesh.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gptoss.config.extensions import OBJECTIVES, load
from gptoss.core.errors import DataError
from gptoss.tables.token_files import REMAKE, TokenSplit
from gptoss.train.mixture import SampleOrder
from gptoss.train.objectives import Objective
from gptoss.train.prefetch import Prefetch
from gptoss.train.run_config import RunConfig
from gptoss.train.shuffle import Integers

IGNORED = -100
"""Target that counts for nothing: padding of the last validation batch."""


class TrainingBatches:
    """This data-parallel rank's part of each global batch, as inputs and targets of the objective."""

    def __init__(
        self, split: TokenSplit, order: SampleOrder, plan: RunConfig, dp_rank: int, device: torch.device
    ) -> None:
        self.split, self.order, self.plan, self.dp_rank, self.device = split, order, plan, dp_rank, device
        self.ahead = Prefetch(self.read, last=plan.settings.pretrain.steps)
        self._counted = 0, np.zeros(len(order.sources), np.int64)

    def take(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of step 1, 2, …, `(sequences_per_rank, context)` int64 each, on the device. Raises what
        reading them raised in the thread."""
        inputs, targets = self.ahead.take(step)
        return inputs.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)

    def read(self, step: int) -> tuple[Tensor, Tensor]:
        """What `take` takes, on the host: what the thread does."""
        layout, settings = self.plan.layout, self.plan.settings
        first = (step - 1) * layout.sequences + self.dp_rank * layout.sequences_per_rank
        samples = np.arange(first, first + layout.sequences_per_rank)
        windows = read_windows(self.split, self.order.starts(first, len(samples)), self.order.context)
        objective: Objective = load(OBJECTIVES, settings.pretrain.objective).examples
        parts = objective(windows, samples, settings)
        inputs, targets = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
        # Only from pinned memory does a copy to a GPU go on beside the host.
        return (inputs.pin_memory(), targets.pin_memory()) if self.device.type == "cuda" else (inputs, targets)

    def source_tokens(self, step: int) -> dict[str, int]:
        """Tokens of each source in the *global* batches of the steps up to and with this one."""
        before, total = self._counted
        if before > step:
            before, total = 0, np.zeros_like(total)
        sequences = self.plan.layout.sequences
        total = total + self.order.tokens(before * sequences, (step - before) * sequences)
        self._counted = step, total
        return dict(zip(self.order.sources, total.tolist(), strict=True))

    def close(self) -> None:
        """End the thread."""
        self.ahead.close()


def read_windows(split: TokenSplit, starts: Integers, context: int) -> Integers:
    """`context + 1` tokens from each start, `(len(starts), context + 1)` int64. Raises `DataError` for a token outside
    the vocabulary, which no embedding has."""
    windows_NT = np.empty((len(starts), context + 1), np.int64)
    for row, start in zip(windows_NT, starts.tolist(), strict=True):
        row[:] = split[start : start + context + 1]
    if windows_NT.max(initial=0) >= split.vocab_size:
        row, column = np.argwhere(windows_NT >= split.vocab_size)[0]
        raise DataError(
            f"{split.file_of(int(starts[row] + column))} holds token {windows_NT[row, column]}, outside the "
            f"vocabulary of {split.vocab_size}",
            REMAKE,
        )
    return windows_NT


def validation_windows(split: TokenSplit, context: int, tokens: int) -> Integers:
    """First tokens of windows spread evenly over the split, so that every source is read in proportion: as many
    as `tokens` holds, or all."""
    available = (len(split) - 1) // context
    wanted = min(available, max(1, tokens // context))
    return np.arange(wanted, dtype=np.int64) * available // wanted * context


def pad(windows: Integers, rows: int) -> tuple[Integers, Integers]:
    """Inputs and targets of a batch of exactly `rows` sequences; targets of the added rows are `IGNORED`."""
    inputs, targets = windows[:, :-1], windows[:, 1:]
    missing = rows - len(windows)
    return (
        np.concatenate([inputs, np.zeros((missing, inputs.shape[1]), np.int64)]),
        np.concatenate([targets, np.full((missing, targets.shape[1]), IGNORED)]),
    )
