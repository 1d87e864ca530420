"""What a kind of personal data consists of: a prefilter for whole columns, and detectors that decide.

The prefilter is an RE2 expression that Arrow evaluates over a column of texts; it may match too much but must not miss
anything. The detectors are Python expressions with lookaround and check-digit rules; they run only on lines that match
the prefilter. Replacements are values reserved for documentation and tests, so redacted text stays natural, identifies
nobody, and redacting twice changes nothing. No expression matches a line feed: every line stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

SPACE = " \u00a0"
"""Characters that group digits, for use inside the brackets of an expression."""


class Replacement(NamedTuple):
    """The replacement of a match, and where the replaced text ends: the match may have run into the next word."""

    text: str
    end: int


@dataclass(frozen=True)
class Detector:
    """An expression, and the replacement of a match; None: not personal data, the match stays."""

    pattern: re.Pattern[str]
    replacement: Callable[[re.Match[str]], Replacement | None]

    def replace(self, text: str) -> tuple[str, int]:
        """The text without what this detects, and the number of replacements."""
        pieces: list[str] = []
        copied = position = 0
        # Not `re.sub`: a rejected match must not hide one that starts within it, hence the step of one character.
        while match := self.pattern.search(text, position):
            replacement = self.replacement(match)
            if replacement is None:
                position = match.start() + 1
                continue
            pieces += [text[copied : match.start()], replacement.text]
            copied = position = replacement.end
        return ("".join([*pieces, text[copied:]]), len(pieces) // 2) if pieces else (text, 0)


@dataclass(frozen=True)
class PersonalDataKind:
    """One kind of personal data."""

    prefilter: str
    """RE2 expression that every line with this kind of data matches."""
    detectors: tuple[Detector, ...]

    def replace(self, text: str) -> tuple[str, int]:
        """The text without data of this kind, and the number of replacements."""
        total = 0
        for detector in self.detectors:
            text, count = detector.replace(text)
            total += count
        return text, total


def digits(text: str) -> str:
    """The ASCII digits of a text."""
    return re.sub("[^0-9]", "", text)


def number_end(match: re.Match[str], is_valid: Callable[[str], bool], group: int = 0) -> int | None:
    """Where a grouped number ends in the text, if a prefix of the match is valid; the longest such prefix that ends
    before a space. In "+44 20 7946 0018 2019 was" the match includes the year."""
    text = match.group(group)
    ends = [len(text), *(space.start() for space in reversed(list(re.finditer(f"[{SPACE}]+", text))))]
    return next((match.start(group) + end for end in ends if is_valid(text[:end])), None)
