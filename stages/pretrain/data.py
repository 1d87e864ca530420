"""Which tokens a step reads: a pure function of (seed, step), whatever the mesh.

The training split is cut into windows of `context` tokens (plus the one that follows, the last target). Sample k of
the whole run is window `permutation(k mod n)` of epoch `k // n`; each epoch has its own permutation of the windows
and its own shift of the cuts. Nothing is stored: the step is the only state, so a run resumes on any mesh.

The permutation is a six-round Feistel network with cycle walking (Black and Rogaway 2002, "Ciphers with arbitrary
finite domains"): a bijection, computed for one index at a time. With four rounds, orders of a thousand windows are
measurably correlated with the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stages.token_files import TokenSplit

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

ROUNDS = 6
IGNORED = -100
"""Target that counts for nothing: padding of the last validation batch."""


def mix(values: Words, key: int) -> Words:
    """A keyed hash of 64-bit words: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = values + np.uint64(key & 0xFFFFFFFFFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def round_keys(seed: int, epoch: int) -> list[int]:
    """One key a Feistel round, and one more for the shift of the epoch."""
    words = np.arange(1, ROUNDS + 2, dtype=np.uint64)
    return [int(word) for word in mix(words, int(mix(np.array([epoch], np.uint64), seed)[0]))]


def permute(positions: Integers, size: int, keys: list[int]) -> Integers:
    """Where each position of `[0, size)` goes: a bijection of `[0, size)`."""
    half = np.uint64(max(1, (max(1, size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    walking = positions.astype(np.uint64)
    result = np.empty_like(walking)
    unplaced = np.arange(len(walking))
    while len(unplaced):
        left, right = walking >> half, walking & mask
        for key in keys[:ROUNDS]:
            left, right = right, left ^ (mix(right, key) & mask)
        walking = left << half | right
        inside = walking < np.uint64(size)
        result[unplaced[inside]] = walking[inside]
        walking, unplaced = walking[~inside], unplaced[~inside]
    return result.astype(np.int64)


class TrainingWindows:
    """The samples of a run in order."""

    def __init__(self, split: TokenSplit, context: int, seed: int) -> None:
        self.split, self.context, self.seed = split, context, seed
        self.per_epoch = len(split) // context - 1

    def starts(self, first: int, count: int) -> Integers:
        """First token of each of the samples `first .. first + count - 1`."""
        samples = np.arange(first, first + count, dtype=np.int64)
        epochs, positions = np.divmod(samples, self.per_epoch)
        starts = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            keys = round_keys(self.seed, int(epoch))
            chosen = epochs == epoch
            windows = permute(positions[chosen], self.per_epoch, keys)
            starts[chosen] = windows * self.context + keys[ROUNDS] % self.context
        return starts

    def read(self, first: int, count: int) -> Integers:
        """Tokens of those samples, `(count, context + 1)` int64."""
        return read_windows(self.split, self.starts(first, count), self.context)


def read_windows(split: TokenSplit, starts: Integers, context: int) -> Integers:
    """`context + 1` tokens from each start, `(len(starts), context + 1)` int64."""
    windows: list[npt.NDArray[Any]] = [split[int(start) : int(start) + context + 1] for start in starts]
    return np.stack(windows).astype(np.int64) if windows else np.empty((0, context + 1), np.int64)


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
