"""The order in which the windows of a range of tokens are read: a pure function of seed and sample number.

The range is cut into windows of `context` tokens plus one, the last target. Sample `k` is window `permutation(k mod n)`
of epoch `k // n`. Each epoch has its own permutation and its own offset of the cuts, so that text at a window's edge is
not at an edge in every epoch. Nothing is stored: a shuffled index of 10^9 windows would need 8 GB on every rank.

The permutation is a six-round Feistel network with cycle walking (Black and Rogaway 2002, "Ciphers with arbitrary
finite domains"), a bijection that is computed for one index at a time:

    left, right = halves of the index
    repeat ROUNDS times: left, right = right, left xor hash(right, key)
    while the result is outside of [0, n): apply the network again
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

# With four rounds, permutations of a thousand windows are measurably correlated with the identity.
ROUNDS = 6


def splitmix64(values: Words, key: int) -> Words:
    """Keyed hash of 64-bit words: the finaliser of SplitMix64 (Steele et al. 2014). Arithmetic is modulo 2^64."""
    mixed = values + np.uint64(key & 0xFFFFFFFFFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def epoch_keys(seed: int, epoch: int) -> list[int]:
    """One key per Feistel round, and one more for the epoch's offset."""
    words = np.arange(1, ROUNDS + 2, dtype=np.uint64)
    return [int(word) for word in splitmix64(words, int(splitmix64(np.array([epoch], np.uint64), seed)[0]))]


def permute(indices: Integers, size: int, keys: list[int]) -> Integers:
    """Image of each index in `[0, size)` under a bijection of `[0, size)`."""
    # The network permutes [0, 4^half_bits), the smallest such domain that holds `size`: below 4 * size, so the expected
    # number of walks is below 4.
    half_bits = np.uint64(max(1, (max(1, size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half_bits)) - 1)
    walking = indices.astype(np.uint64)
    result = np.empty_like(walking)
    unplaced = np.arange(len(walking))
    while len(unplaced):
        left, right = walking >> half_bits, walking & mask
        for key in keys[:ROUNDS]:
            left, right = right, left ^ (splitmix64(right, key) & mask)
        walking = left << half_bits | right
        inside = walking < np.uint64(size)
        result[unplaced[inside]] = walking[inside]
        walking, unplaced = walking[~inside], unplaced[~inside]
    return result.astype(np.int64)


class ShuffledWindows:
    """The windows of the tokens `[start, start + tokens)` in shuffled order; needs `tokens > 2 * context`."""

    def __init__(self, start: int, tokens: int, context: int, seed: int) -> None:
        self.start, self.context, self.seed = start, context, seed
        self.per_epoch = tokens // context - 1  # one fewer than fit, to leave room for the epoch's offset

    def starts(self, numbers: Integers) -> Integers:
        """First token of the samples with these numbers (0, 1, … through all epochs); shape of `numbers`, (N,)."""
        epochs, indices = np.divmod(numbers, self.per_epoch)
        starts = np.empty_like(numbers)
        for epoch in np.unique(epochs):
            keys = epoch_keys(self.seed, int(epoch))
            chosen = epochs == epoch
            windows = permute(indices[chosen], self.per_epoch, keys)
            starts[chosen] = self.start + windows * self.context + keys[ROUNDS] % self.context
        return starts
