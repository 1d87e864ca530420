"""The batches of a run, read from memory-mapped token shards ahead of the step that needs them.

Which tokens a step reads is a pure function of (seed, step) on any mesh: `shuffle.py` orders the windows of a range of
tokens, `mixture.py` chooses the source of each sample. So the data loader has no state to save, and a run resumes on
any number of ranks.

Shape suffixes: N windows, T positions.
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
from gptoss.train.prefetch import Prefetcher
from gptoss.train.run_config import RunConfig
from gptoss.train.shuffle import Integers

IGNORE_INDEX = -100
"""Target that does not contribute to the loss; PyTorch's and Hugging Face's value."""


class TrainingBatches:
    """A data-parallel rank's slices of the global batches, as inputs and targets of the objective."""

    def __init__(
        self, split: TokenSplit, order: SampleOrder, run_config: RunConfig, dp_rank: int, device: torch.device
    ) -> None:
        self.split, self.order, self.dp_rank, self.device = split, order, dp_rank, device
        self.layout, self.settings = run_config.layout, run_config.settings
        self.objective: Objective = load(OBJECTIVES, self.settings.pretrain.objective).examples
        self.prefetcher = Prefetcher(self.read, last=self.settings.pretrain.steps)
        self._counted = 0, np.zeros(len(order.sources), np.int64)

    def take(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of step 1, 2, …, `(sequences_per_rank, context)` int64 each, on the device. Raises the
        error of the thread that read them."""
        inputs, targets = self.prefetcher.take(step)
        # The copy overlaps with kernels of the previous step that are still queued.
        return inputs.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)

    def read(self, step: int) -> tuple[Tensor, Tensor]:
        """The same tensors in host memory; runs in the prefetch thread."""
        per_rank = self.layout.sequences_per_rank
        first = (step - 1) * self.layout.sequences + self.dp_rank * per_rank
        windows = read_windows(self.split, self.order.starts(first, per_rank), self.order.context)
        arrays = self.objective(windows, np.arange(first, first + per_rank), self.settings)
        inputs, targets = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
        # Only copies from pinned memory to a GPU are asynchronous.
        return (inputs.pin_memory(), targets.pin_memory()) if self.device.type == "cuda" else (inputs, targets)

    def source_tokens(self, step: int) -> dict[str, int]:
        """Tokens per source in the *global* batches of steps 1 … `step`."""
        counted_step, total = self._counted
        # Counting from the last call keeps the cost per step constant.
        if counted_step > step:  # after a rollback
            counted_step, total = 0, np.zeros_like(total)
        sequences = self.layout.sequences
        total = total + self.order.tokens(counted_step * sequences, (step - counted_step) * sequences)
        self._counted = step, total
        return dict(zip(self.order.sources, total.tolist(), strict=True))

    def close(self) -> None:
        """End the prefetch thread."""
        self.prefetcher.close()


def read_windows(split: TokenSplit, starts: Integers, context: int) -> Integers:
    """`context + 1` tokens from each start, `(N, context + 1)` int64. Raises `DataError` for a token outside the
    vocabulary, which would otherwise be an out-of-bounds read in the embedding kernel."""
    windows_NT = np.empty((len(starts), context + 1), np.int64)
    for window_T, start in zip(windows_NT, starts.tolist(), strict=True):
        window_T[:] = split[start : start + context + 1]
    if windows_NT.max(initial=0) >= split.vocab_size:
        window, position = np.argwhere(windows_NT >= split.vocab_size)[0]
        raise DataError(
            f"{split.file_of(int(starts[window] + position))} holds token {windows_NT[window, position]}, outside the "
            f"vocabulary of {split.vocab_size}",
            REMAKE,
        )
    return windows_NT


def validation_windows(split: TokenSplit, context: int, tokens: int) -> Integers:
    """First tokens of windows spread evenly over the split, so that every source is sampled in proportion: as many
    windows as fit into `tokens`, or all of the split."""
    available = (len(split) - 1) // context
    # At least one window, or the mean loss would divide by zero.
    wanted = min(available, max(1, tokens // context))
    return np.arange(wanted, dtype=np.int64) * available // wanted * context


def pad_batch(windows_NT: Integers, rows: int) -> tuple[Integers, Integers]:
    """Inputs and targets of exactly `rows` sequences; targets of added rows are `IGNORE_INDEX`."""
    padding = ((0, rows - len(windows_NT)), (0, 0))
    return (
        np.pad(windows_NT[:, :-1], padding, constant_values=0),
        np.pad(windows_NT[:, 1:], padding, constant_values=IGNORE_INDEX),
    )
