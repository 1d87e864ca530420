"""Examples as rows of a batch: padded, or packed so that no position is wasted, without one seeing another.

Packed examples stand in one row one after the other and the positions of each start at zero. Without an attention
mask and without a cache, transformers takes a position that does not follow the one before as the start of another
text and lets none attend across (its packed-sequence mask; FlashAttention's variable lengths on GPUs). The first token
of an example is never a target, so no loss falls on a token that another example would have to predict.

Packing is best fit, longest first (Johnson 1974, "Fast algorithms for bin packing"): a pure function of the lengths.
"""

from __future__ import annotations

import bisect

import torch

from gptoss.finetune.examples import IGNORED, Example


def pack(examples: list[Example], length: int) -> list[list[Example]]:
    """Rows of examples of at most `length` tokens together; every example in exactly one row, none cut."""
    rows: list[list[Example]] = []
    free: list[tuple[int, int]] = []
    """(tokens left, row), sorted."""
    order = sorted(range(len(examples)), key=lambda number: (-len(examples[number]["input_ids"]), number))
    for number in order:
        needed = len(examples[number]["input_ids"])
        place = bisect.bisect_left(free, (needed, -1))
        if place == len(free):
            rows.append([examples[number]])
            bisect.insort(free, (length - needed, len(rows) - 1))
        else:
            left, row = free.pop(place)
            rows[row].append(examples[number])
            bisect.insort(free, (left - needed, row))
    return rows


def pad(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch as int64 tensors [examples, longest], padded on the right; padding is neither seen nor learned."""
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


def joined(rows: list[list[Example]], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch of packed rows as int64 tensors [rows, longest] with the position of each token in its example; what
    is left of a row is an example of padding, without labels."""
    longest = max(sum(len(example["input_ids"]) for example in row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    positions = torch.zeros((len(rows), longest), dtype=torch.int64)
    for number, row in enumerate(rows):
        start = 0
        for example in row:
            end = start + len(example["input_ids"])
            ids[number, start:end] = torch.tensor(example["input_ids"])
            labels[number, start + 1 : end] = torch.tensor(example["labels"][1:])
            positions[number, start:end] = torch.arange(end - start)
            start = end
        positions[number, start:] = torch.arange(longest - start)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}
