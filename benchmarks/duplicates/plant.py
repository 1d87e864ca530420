"""Planted duplicates: copies with edited words and an exactly computed Jaccard similarity, and copies that differ only
in case and punctuation."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from duplicates.distinct import NGRAM
from duplicates.text import words_of

# Share of the documents by similarity bin, 12 % together; 1.0 are exact copies. Most are planted where recall varies
# most, so that its standard error is below 0.01 there.
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
# A copy of bin b has a similarity in [b, b + 0.02).
WIDTH = 0.02
# One edit changes five 5-grams: in shorter texts it moves the similarity by too much to hit a bin.
MIN_WORDS = 250
ATTEMPTS = 12  # of edits beyond the estimate, and of restarts

_SPLIT = re.compile(r"(\w+)")
_SEPARATORS = (" ", "  ", "\n", ", ", "; ", " - ", ": ", ". ", " ... ", "! ")


def shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    """The set of word 5-grams; for fewer than five words, one shingle of all of them."""
    if len(words) < NGRAM:
        return {tuple(words)} if words else set()
    return set(zip(*(words[start:] for start in range(NGRAM)), strict=False))


def similarity(left: Sequence[str], right: Sequence[str]) -> float:
    """Exact Jaccard similarity of the 5-gram sets of two texts, given as words."""
    first, second = shingles(left), shingles(right)
    return len(first & second) / len(first | second) if first or second else 0.0


def near_copy(text: str, bin_: float, vocabulary: Sequence[str], rng: random.Random) -> tuple[str, float] | None:
    """Replace, delete and insert words until the similarity to the text lies in the bin.

    Returns the copy and its exact similarity, or None when no attempt hits the bin.
    """
    original = words_of(text)
    distinct = len(shingles(original))
    # e edits replace 5e of n shingles by 5e others: J = (n - 5e) / (n + 5e), so e = n (1 - J) / (5 (1 + J)). Edits
    # close to each other replace fewer, which the inner loop makes up for.
    edits = max(1, round(distinct * (1 - bin_) / (NGRAM * (1 + bin_))))
    for _ in range(ATTEMPTS):
        tokens = _SPLIT.split(text)
        positions = rng.sample(range(1, len(tokens), 2), len(tokens) // 2)
        for position in positions[:edits]:
            _edit(tokens, position, vocabulary, rng)
        for position in positions[edits : edits + ATTEMPTS]:
            copy = "".join(tokens)
            jaccard = similarity(original, words_of(copy))
            if jaccard < bin_ + WIDTH:
                break
            _edit(tokens, position, vocabulary, rng)
        if bin_ <= jaccard < bin_ + WIDTH:
            return copy, jaccard
        # Usually too many edits: retry with one fewer.
        edits = max(1, edits - 1)
    return None


def _edit(tokens: list[str], position: int, vocabulary: Sequence[str], rng: random.Random) -> None:
    word = rng.choice(vocabulary)
    # Replacing is the most common difference between near duplicates, and keeps the length.
    kind = rng.choice(("replace", "replace", "delete", "insert"))
    if kind == "delete":
        tokens[position] = ""
    else:
        tokens[position] = word if kind == "replace" else f"{tokens[position]} {word}"


def exact_copy(text: str, rng: random.Random) -> str | None:
    """A copy with the same normalised words but different case and punctuation; None when no change was possible."""
    tokens = _SPLIT.split(text)
    for position in range(1, len(tokens), 2):  # odd positions are words, even ones separators
        # ASCII only: changing the case of other letters may change the word (German ß).
        if tokens[position].isascii() and rng.random() < 0.3:
            tokens[position] = tokens[position].swapcase()
    for position in range(2, len(tokens) - 1, 2):
        if rng.random() < 0.3:
            tokens[position] = rng.choice(_SEPARATORS)
    copy = "".join(tokens)
    return copy if copy != text and words_of(copy) == words_of(text) else None
