"""Planted duplicates: copies with edited words and a Jaccard similarity that is computed exactly, and copies whose
words are the same while case and punctuation are not."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from duplicates.distinct import NGRAM
from duplicates.text import words_of

SHARES = {
    1.0: 0.015,
    0.95: 0.004,
    0.90: 0.005,
    0.85: 0.008,
    0.80: 0.015,
    0.75: 0.028,
    0.70: 0.036,
    0.60: 0.005,
    0.50: 0.004,
}
"""Bin of similarity: its share of the documents, 12 % together. 1.0 are the exact copies. Most are planted where
recall varies most, so that it is measured to better than 0.01."""
WIDTH = 0.02
"""A copy of bin b has a similarity in [b, b + 0.02)."""
MIN_WORDS = 250
"""One edit changes five 5-grams: the similarity of shorter texts moves in steps too large to hit a bin."""
ATTEMPTS = 12

_SPLIT = re.compile(r"(\w+)")
_SEPARATORS = (" ", "  ", "\n", ", ", "; ", " - ", ": ", ". ", " ... ", "! ")


def shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    """The set of word 5-grams; of a shorter text all its words as one."""
    if len(words) < NGRAM:
        return {tuple(words)} if words else set()
    return set(zip(*(words[start:] for start in range(NGRAM)), strict=False))


def similarity(left: Sequence[str], right: Sequence[str]) -> float:
    """The exact Jaccard similarity of the 5-gram sets of two texts, given as words."""
    first, second = shingles(left), shingles(right)
    return len(first & second) / len(first | second) if first or second else 0.0


def near_copy(text: str, bin_: float, vocabulary: Sequence[str], chance: random.Random) -> tuple[str, float] | None:
    """A copy with words replaced, deleted and inserted until its similarity lies in the bin; the copy and its exact
    similarity, or None when no number of edits hits the bin."""
    original = words_of(text)
    distinct = len(shingles(original))
    edits = max(1, round(distinct * (1 - bin_) / (NGRAM * (1 + bin_))))
    for _ in range(ATTEMPTS):
        tokens = _SPLIT.split(text)
        places = chance.sample(range(1, len(tokens), 2), len(tokens) // 2)
        for place in places[:edits]:
            _edit(tokens, place, vocabulary, chance)
        for place in places[edits : edits + ATTEMPTS]:
            copy = "".join(tokens)
            exact = similarity(original, words_of(copy))
            if exact < bin_ + WIDTH:
                break
            _edit(tokens, place, vocabulary, chance)
        if bin_ <= exact < bin_ + WIDTH:
            return copy, exact
        edits = max(1, edits - 1)
    return None


def _edit(tokens: list[str], place: int, vocabulary: Sequence[str], chance: random.Random) -> None:
    word = chance.choice(vocabulary)
    kind = chance.choice(("replace", "replace", "delete", "insert"))
    if kind == "delete":
        tokens[place] = ""
    else:
        tokens[place] = word if kind == "replace" else f"{tokens[place]} {word}"


def exact_copy(text: str, chance: random.Random) -> str | None:
    """A copy with the same normalised words but other case and punctuation; None when there is none."""
    tokens = _SPLIT.split(text)
    for place in range(1, len(tokens), 2):
        if tokens[place].isascii() and chance.random() < 0.3:
            tokens[place] = tokens[place].swapcase()
    for place in range(2, len(tokens) - 1, 2):
        if chance.random() < 0.3:
            tokens[place] = chance.choice(_SEPARATORS)
    copy = "".join(tokens)
    return copy if copy != text and words_of(copy) == words_of(text) else None
