"""Batches of examples: padded, or packed without padding and without attention between examples.

Packed examples follow each other in one row, and the positions of each start at zero. Without an attention mask and
without a cache, transformers treats a position that does not follow the previous one as the start of another text and
masks attention across it (its packed-sequence mask; FlashAttention's variable lengths on GPUs).

Packing is best fit, longest first (Johnson 1974, "Fast algorithms for bin packing"): a pure function of the lengths.
"""

from __future__ import annotations

import bisect

import torch

from gptoss.finetune.examples import IGNORED, Example


def pack(examples: list[Example], length: int) -> list[list[Example]]:
    """Rows of examples with at most `length` tokens in total; every example is in exactly one row, none is cut."""
    rows: list[list[Example]] = []
    free: list[tuple[int, int]] = []  # (tokens left, row), sorted
    # Longest first: short examples fill the gaps at the end.
    order = sorted(range(len(examples)), key=lambda number: (-len(examples[number]["input_ids"]), number))
    for number in order:
        needed = len(examples[number]["input_ids"])
        best = bisect.bisect_left(free, (needed, -1))  # the row with the least space that is enough
        if best == len(free):
            rows.append([examples[number]])
            bisect.insort(free, (length - needed, len(rows) - 1))
        else:
            left, row = free.pop(best)
            rows[row].append(examples[number])
            bisect.insort(free, (left - needed, row))
    return rows


def collate_padded(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch as int64 tensors [examples, longest], padded on the right with labels `IGNORED`."""
    longest = max(len(example["input_ids"]) for example in examples)
    ids = torch.full((len(examples), longest), pad_id)
    labels = torch.full((len(examples), longest), IGNORED)
    attention = torch.zeros((len(examples), longest), dtype=torch.int64)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        ids[row, :length] = torch.tensor(example["input_ids"])
        labels[row, :length] = torch.tensor(example["labels"])
        attention[row, :length] = 1
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def collate_packed(rows: list[list[Example]], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch of packed rows as int64 tensors [rows, longest], with the position of each token in its example. The rest
    of a row is one example of padding, without labels."""
    longest = max(sum(len(example["input_ids"]) for example in row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    positions = torch.zeros((len(rows), longest), dtype=torch.int64)
    for number, row in enumerate(rows):
        start = 0
        for example in row:
            end = start + len(example["input_ids"])
            ids[number, start:end] = torch.tensor(example["input_ids"])
            # The first token of an example has no label: the last one of the previous example would predict it.
            labels[number, start + 1 : end] = torch.tensor(example["labels"][1:])
            positions[number, start:end] = torch.arange(end - start)
            start = end
        # Padding also starts at position zero, as one more text that no example attends to.
        positions[number, start:] = torch.arange(longest - start)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}
