"""Byte n-gram language models, the baselines of bits per byte: a model must beat them to be worth its training.

Interpolated modified Kneser–Ney smoothing (Chen and Goodman 1998, section 3), the strongest n-gram smoothing
of their study, down to the uniform distribution over the 256 bytes:

    p_k(b | h) = max(c(hb) - D(c(hb)), 0) / c(h) + (D_1 N_1(h) + D_2 N_2(h) + D_3+ N_3+(h)) / c(h) * p_k-1(b | h')

where h' is h without its first byte, N_i(h) how many bytes follow h exactly i times, and p_0 = 1/256. At the
highest order c counts occurrences; below, it counts how many different bytes precede it, the Kneser–Ney
counts. The discounts D are estimated from the counts of counts of each order, as in their paper. After a
context that does not occur in the training text, p_k is p_k-1. So p_k sums to 1 over the bytes for every context.

In: training bytes and held-out bytes, each one text (`bits_per_byte.decode_text` puts nothing between documents). A
text is treated as preceded by newlines, so that every byte has a whole context. Order 5 on 20 MB: 1.3 s, 0.6 GB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Reals = npt.NDArray[np.float64]

# Bytes in a 64-bit key.
MAX_ORDER = 8
# A common single discount of Kneser-Ney smoothing, for texts too small to estimate one from.
FALLBACK_DISCOUNT = 0.75


def bits_per_byte(train: bytes, validation: bytes, order: int) -> float:
    """Mean of -log2 p over `validation` under an n-gram model of `train`."""
    return ByteNgrams.fit(train, order).bits_per_byte(validation)


@dataclass(frozen=True)
class _Level:
    """The n-grams of one order. A key holds the bytes of an n-gram, the last byte lowest."""

    ngrams: Keys
    """Sorted, shape (ngrams,)."""
    discounted: Reals
    """(c - D(c)) / c(h) of each n-gram."""
    contexts: Keys
    """Sorted, shape (contexts,)."""
    backoff: Reals
    """Probability mass that discounting frees per context, given to the order below."""


@dataclass(frozen=True)
class ByteNgrams:
    """A model of the next byte, lowest order first in `levels`."""

    levels: tuple[_Level, ...]

    @property
    def order(self) -> int:
        """Bytes in an n-gram: context and the byte after it."""
        return len(self.levels)

    @classmethod
    def fit(cls, text: bytes, order: int) -> ByteNgrams:
        """Count the n-grams of `text`. Raises `ValueError` for an order that does not fit a key, or no text."""
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"order {order}: 1 to {MAX_ORDER} bytes fit a 64-bit key")
        if not text:
            raise ValueError("an n-gram model needs at least one byte of text")
        ngrams, counts = np.unique(_windows(text, order), return_counts=True)
        levels = [_level(ngrams, counts)]
        for length in range(order - 1, 0, -1):
            # Unique n-grams without their first byte: the count of each is the number of different bytes before it.
            ngrams, counts = np.unique(ngrams & _mask(length), return_counts=True)
            levels.append(_level(ngrams, counts))
        return cls(tuple(reversed(levels)))

    def bits_per_byte(self, text: bytes) -> float:
        """Mean of -log2 p over the bytes of `text`, each after the bytes before it."""
        ngrams, counts = np.unique(_windows(text, self.order), return_counts=True)
        return float(counts @ -np.log2(self.probabilities(ngrams)) / len(text))

    def probabilities(self, ngrams: Keys) -> Reals:
        """p(last byte | bytes before it) of each key of `order` bytes, shape (ngrams,)."""
        p = np.full(len(ngrams), 1 / 256)
        for length, level in enumerate(self.levels, 1):
            wanted = ngrams & _mask(length)
            # A context that was never seen keeps nothing for this order: all of its mass goes to the one below.
            backoff = _look_up(level.contexts, level.backoff, wanted >> np.uint64(8), missing=1.0)
            p = _look_up(level.ngrams, level.discounted, wanted, missing=0.0) + backoff * p
        return p

    def distribution(self, context: bytes) -> Reals:
        """p of each byte after `context`, shape (256,)."""
        before = int(_windows(context + b"\n", self.order)[-1]) & ~0xFF
        return self.probabilities(np.uint64(before) | np.arange(256, dtype=np.uint64))


def _mask(length: int) -> np.uint64:
    return np.uint64((1 << 8 * length) - 1)


def _windows(text: bytes, order: int) -> Keys:
    """The key of the n-gram that ends at each byte of `text`, shape (len(text),)."""
    # One pass per byte of context, vectorised over the text: a loop over the text would take minutes.
    padded = np.frombuffer(b"\n" * (order - 1) + text, dtype=np.uint8)
    keys = np.zeros(len(text), dtype=np.uint64)
    for start in range(order):
        keys <<= np.uint64(8)
        keys |= padded[start : start + len(text)]
    return keys


def _level(ngrams: Keys, counts: npt.NDArray[np.int64]) -> _Level:
    """Discount the counts of sorted n-grams, and add up per context what that frees."""
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    # N-grams are sorted with their last byte lowest, so those of one context are adjacent.
    contexts, starts = np.unique(ngrams >> np.uint64(8), return_index=True)
    totals = np.add.reduceat(counts, starts)
    continuations = np.diff(np.append(starts, len(ngrams)))
    return _Level(
        ngrams,
        (counts - discounts) / np.repeat(totals, continuations),
        contexts,
        np.add.reduceat(discounts, starts) / totals,
    )


def _discounts(counts: npt.NDArray[np.int64]) -> Reals:
    """D for counts of 0, 1, 2, and 3 or more: i - (i + 1) Y n_i+1 / n_i with Y = n_1 / (n_1 + 2 n_2)."""
    n = np.bincount(np.minimum(counts, 5), minlength=5)[:5].astype(float)
    discounts = np.zeros(4)
    for i in (1, 2, 3):
        estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i] if n[1] and n[i] else 0.0
        # In a small text some n_i are 0 or out of proportion, and the estimate is outside of (0, i).
        discounts[i] = estimate if 0 < estimate < i else FALLBACK_DISCOUNT
    return discounts


def _look_up(keys: Keys, values: Reals, wanted: Keys, *, missing: float) -> Reals:
    """The value of each wanted key, or `missing`."""
    # `searchsorted` gives len(keys) for a key above all others.
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], missing)
