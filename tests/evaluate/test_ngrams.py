"""The n-gram baselines against a dictionary implementation of the same formula, and their invariants."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from gptoss.evaluate.ngrams import FALLBACK_DISCOUNT, ByteNgrams, bits_per_byte

TEXT = (
    b"It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of "
    b"a wife.\nHowever little known the feelings or views of such a man may be on his first entering a neighbourhood, "
    b"this truth is so well fixed in the minds of the surrounding families, that he is considered the rightful "
    b"property of some one or other of their daughters.\n"
)
HELD_OUT = b"A man in want of \xff\x00 a neighbourhood is well fixed in the views of other families.\n"


class BruteForce:
    """Chen and Goodman's formulas, one byte at a time."""

    def __init__(self, text: bytes, order: int) -> None:
        padded = b"\n" * (order - 1) + text
        counts = Counter(padded[end - order : end] for end in range(order, len(padded) + 1))
        self.order = order
        self.counts = {order: counts}
        for length in range(order - 1, 0, -1):
            self.counts[length] = Counter(ngram[1:] for ngram in self.counts[length + 1])
        self.followers = {length: self._followers(length) for length in self.counts}

    def _followers(self, length: int) -> dict[bytes, dict[int, int]]:
        followers: dict[bytes, dict[int, int]] = defaultdict(dict)
        for ngram, count in self.counts[length].items():
            followers[ngram[:-1]][ngram[-1]] = count
        return followers

    def discount(self, length: int, count: int) -> float:
        n = Counter(self.counts[length].values())
        i = min(count, 3)
        if n[1] and n[i]:
            estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
            if 0 < estimate < i:
                return estimate
        return FALLBACK_DISCOUNT

    def p(self, byte: int, context: bytes) -> float:
        length = len(context) + 1
        shorter = self.p(byte, context[1:]) if context else 1 / 256
        followers = self.followers[length].get(context)
        if not followers:
            return shorter
        total = sum(followers.values())
        freed = sum(self.discount(length, count) for count in followers.values())
        count = followers.get(byte, 0)
        return ((count - self.discount(length, count)) if count else 0.0) / total + freed / total * shorter

    def bits_per_byte(self, text: bytes) -> float:
        padded = b"\n" * (self.order - 1) + text
        bits = 0.0
        for at in range(self.order - 1, len(padded)):
            bits -= math.log2(self.p(padded[at], padded[at - self.order + 1 : at]))
        return bits / len(text)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("train", [TEXT, b"a", b"abab", b"\x00\xff" * 5 + b"\xff\x00\x00"])
def test_it_is_chen_and_goodmans_formula(train: bytes, order: int) -> None:
    assert bits_per_byte(train, HELD_OUT, order) == pytest.approx(BruteForce(train, order).bits_per_byte(HELD_OUT))


@pytest.mark.parametrize("order", [1, 3, 5, 8])
def test_probabilities_sum_to_one_after_any_context(order: int) -> None:
    model = ByteNgrams.fit(TEXT, order)
    for context in (b"", b"\n", b"in the", b"the \xff", b"zzzzzzzz", b"\xff" * 8, b"\x00" * 8):
        p = model.distribution(context)
        assert p.shape == (256,)
        assert p.min() > 0
        assert p.sum() == pytest.approx(1, abs=1e-12)


def test_more_context_predicts_text_better_and_noise_not() -> None:
    assert 8 > bits_per_byte(TEXT * 3, HELD_OUT, 1) > bits_per_byte(TEXT * 3, HELD_OUT, 3) > 0
    noise = random.Random(0).randbytes(200_000)
    assert bits_per_byte(noise[:150_000], noise[150_000:], 1) == pytest.approx(8, abs=0.01)
    assert bits_per_byte(noise[:150_000], noise[150_000:], 3) > 7.99
    assert bits_per_byte(b"abc" * 10_000, b"abc" * 1_000, 3) < 0.01


def test_known_value_by_hand() -> None:
    # "aab": a twice, b once, so n_1 = n_2 = 1, Y = 1/3, D_1 = 1 - 2 Y = 1/3, and D_2 falls back (n_3 = 0 gives 2).
    p_b = (1 - 1 / 3) / 3 + (1 / 3 + 0.75) / 3 / 256
    assert ByteNgrams.fit(b"aab", 1).distribution(b"")[ord("b")] == pytest.approx(p_b)
    assert bits_per_byte(b"aab", b"b", 1) == pytest.approx(-np.log2(p_b))


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        ByteNgrams.fit(TEXT, 9)
    with pytest.raises(ValueError, match="at least one byte"):
        ByteNgrams.fit(b"", 3)
