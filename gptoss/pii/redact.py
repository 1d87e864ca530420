"""Personal data in texts: found, replaced by neutral values, counted by kind.

A kind of personal data is a cheap expression that tells which texts may hold it (Arrow runs it over whole columns) and
patterns that look closer at those. The replacements are values reserved for documentation and tests, so redacted text
stays natural, names nobody, and redacting twice changes nothing. No pattern crosses a line feed: redaction leaves the
lines of a text where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Found = tuple[str, int]
"""What stands in place of a match, and where in the text the match ends."""

SPACE = " \u00a0"
"""Characters that group digits, inside brackets of an expression."""


@dataclass(frozen=True)
class Pattern:
    """`decide` says what a match becomes; None: it is nobody's data and stays."""

    expression: re.Pattern[str]
    decide: Callable[[re.Match[str]], Found | None]


@dataclass(frozen=True)
class Kind:
    """One kind of personal data."""

    suspects: str
    """A regular expression of RE2 that every text that holds this kind matches."""
    patterns: tuple[Pattern, ...]

    def replaced(self, text: str) -> tuple[str, int]:
        """The text without data of this kind, and how much it held."""
        total = 0
        for pattern in self.patterns:
            text, count = _replaced(pattern, text)
            total += count
        return text, total


@dataclass(frozen=True)
class Redaction:
    """`texts` large_string [texts] without personal data; `found`: how much of each kind each text held,
    int64 [texts]."""

    texts: pa.Array
    found: dict[str, Integers]


def redact(texts: pa.Array, kinds: Sequence[str]) -> Redaction:
    """Replace personal data of these kinds (string or large_string [texts]; null stays null)."""
    from gptoss.pii.registry import KINDS

    found = {}
    for name in (name for name in KINDS if name in kinds):  # in the order of KINDS, most specific first
        found[name] = np.zeros(len(texts), dtype=np.int64)
        suspected = pc.fill_null(pc.match_substring_regex(texts, KINDS[name].suspects), False)
        rows = np.flatnonzero(suspected.to_numpy(zero_copy_only=False))
        if len(rows):
            replaced, found[name][rows] = _by_line(texts.filter(suspected), KINDS[name])
            texts = pc.replace_with_mask(texts, suspected, replaced)
    return Redaction(texts, found)


def _by_line(texts: pa.Array, kind: Kind) -> tuple[pa.Array, Integers]:
    """The texts, redacted, and how much each held; only the lines that may hold something are looked at closely."""
    lists = pc.split_pattern(texts, "\n")
    suspected = pc.match_substring_regex(pc.list_flatten(lists), kind.suspects).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(suspected)
    owners = pc.list_parent_indices(lists).to_numpy()[rows]
    numbers = rows - lists.offsets.to_numpy()[owners]
    pieces = [text.split("\n") for text in texts.to_pylist()]
    held = np.zeros(len(texts), dtype=np.int64)
    for owner, number in zip(owners.tolist(), numbers.tolist(), strict=True):
        pieces[owner][number], count = kind.replaced(pieces[owner][number])
        held[owner] += count
    return pa.array(["\n".join(lines) for lines in pieces], texts.type), held


def digits(text: str) -> str:
    """The ASCII digits of a text."""
    return re.sub("[^0-9]", "", text)


def grouped(found: re.Match[str], is_valid: Callable[[str], bool], group: int = 0) -> int | None:
    """Where a number ends in the text whose match may have run into the next word or number: the last space at which
    what stands before it in the group is valid."""
    text = found.group(group)
    ends = [len(text), *(cut.start() for cut in reversed(list(re.finditer(f"[{SPACE}]+", text))))]
    return next((found.start(group) + end for end in ends if is_valid(text[:end])), None)


def _replaced(pattern: Pattern, text: str) -> tuple[str, int]:
    pieces: list[str] = []
    done = position = 0
    while match := pattern.expression.search(text, position):
        decided = pattern.decide(match)
        if decided is None:
            position = match.start() + 1
            continue
        replacement, end = decided
        pieces += [text[done : match.start()], replacement]
        done = position = end
    return ("".join([*pieces, text[done:]]), len(pieces) // 2) if pieces else (text, 0)
