"""Does a word look like an address on the web: those are never split."""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import Bytes, UInt32s, class_at, decode
from gptoss.quality.rules.compiled import inlined, leaf

LOWER = ch.LOWER
LONGEST_NAME = 63
"""Characters between two dots of a host."""


@leaf
def is_address(classes: UInt32s, data: Bytes, a: int, b: int) -> bool:
    """Is `data[a:b]` `[SCHEME://][USER@]HOST[:PORT][/PATH]`, where HOST is names joined by dots and ends in lower
    case letters? (`spacy.lang.tokenizer_exceptions.URL_PATTERN`, without its numeric hosts.)"""
    dot, at, scheme = -1, -1, -1
    for i in range(a, b):
        c = data[i]
        if c == 46 and dot < 0:
            dot = i
        elif c == 64 and i > a:
            at = i
        elif c == 58 and scheme < 0 and i - a >= 2 and i + 2 < b and data[i + 1] == 47 and data[i + 2] == 47:
            scheme = i
    if dot < 0:
        return False
    if scheme > 0 and _is_scheme(data, a, scheme) and _host_to_end(classes, data, scheme + 3, b):
        return True
    return _host_to_end(classes, data, a, b) or (at > 0 and _host_to_end(classes, data, at + 1, b))


@inlined
def _is_scheme(data: Bytes, a: int, b: int) -> bool:
    for i in range(a, b):
        c = data[i] | 0x20
        if not (97 <= c <= 122 or 48 <= data[i] <= 57 or data[i] in (43, 45, 46, 95) or data[i] >= 0x80):
            return False
    return True


@inlined
def _host_to_end(classes: UInt32s, data: Bytes, a: int, b: int) -> bool:
    """Is `data[a:b]` HOST[:PORT][/PATH]?"""
    i, names, size, letters, hyphen = a, 0, 0, True, False
    while i < b:
        c, width = decode(data, i, b)
        if c == 46:
            if size == 0 or size > LONGEST_NAME + 1 or hyphen:
                return False
            names, size, letters = names + 1, 0, True
        elif _in_name(c):
            hyphen = c == 45 or c == 95
            if size == 0 and hyphen:
                return False
            letters = letters and class_at(classes, data, i, b) & LOWER != 0
            size += 1
        else:
            break
        i += width
    if not (names and letters and 2 <= size <= LONGEST_NAME):
        return False
    if i < b and data[i] == 58:
        digits = i + 1
        while digits < b and 48 <= data[digits] <= 57:
            digits += 1
        if not 2 <= digits - i - 1 <= 5:
            return False
        i = digits
    return i == b or data[i] == 47 or data[i] == 63 or data[i] == 35


@inlined
def _in_name(c: np.int64) -> bool:
    """May the character be part of a host's name?"""
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or 0xA1 <= c <= 0xFFFF or c == 45 or c == 95
