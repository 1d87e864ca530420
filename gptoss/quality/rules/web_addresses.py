"""Does a word look like a web address? The tokenizer keeps those whole.

    is_address(word) = word matches [SCHEME://][USER@]HOST[:PORT][/PATH], where
    HOST = NAME(.NAME)+ and the last NAME, at least two characters, is in lower case

References: `spacy.lang.tokenizer_exceptions.URL_PATTERN` (MIT), without its numeric hosts. The expression itself would
backtrack; two passes over the bytes decide the same.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import class_at, decode, is_digit
from gptoss.quality.rules.compiled import Bytes, UInt32s, inlined, leaf

LONGEST_NAME = 63  # characters between two dots of a host (RFC 1035)
SHORTEST_TOP_LEVEL = 2
FEWEST_PORT_DIGITS, MOST_PORT_DIGITS = 2, 5
# URL_PATTERN allows the characters U+00A1 to U+FFFF in names: internationalised domains.
FIRST_NAME_CHARACTER, LAST_NAME_CHARACTER = 0xA1, 0xFFFF


@leaf
def is_address(classes: UInt32s, data: Bytes, start: int, end: int) -> bool:
    """Is `data[start:end]` an address?"""
    first_dot, last_at_sign, scheme_end = -1, -1, -1
    for at in range(start, end):
        byte = data[at]
        if byte == utf8.FULL_STOP and first_dot < 0:
            first_dot = at
        elif byte == utf8.AT_SIGN and at > start:
            last_at_sign = at
        elif byte == utf8.COLON and scheme_end < 0 and at - start >= 2 and _two_slashes(data, at + 1, end):
            scheme_end = at
    if first_dot < 0:  # most words
        return False
    if scheme_end > 0 and _is_scheme(data, start, scheme_end) and _host_to_end(classes, data, scheme_end + 3, end):
        return True
    if _host_to_end(classes, data, start, end):
        return True
    return last_at_sign > 0 and _host_to_end(classes, data, last_at_sign + 1, end)


@inlined
def _two_slashes(data: Bytes, at: int, end: int) -> bool:
    return at + 1 < end and data[at] == utf8.SLASH and data[at + 1] == utf8.SLASH


@inlined
def _is_scheme(data: Bytes, start: int, end: int) -> bool:
    for at in range(start, end):
        byte = data[at]
        is_letter = utf8.LOWER_A <= byte | utf8.CASE_BIT <= utf8.LOWER_Z
        is_mark = byte == utf8.PLUS or byte == utf8.HYPHEN or byte == utf8.FULL_STOP or byte == utf8.UNDERSCORE
        if not (is_letter or is_digit(byte) or is_mark or byte >= utf8.FIRST_NON_ASCII):
            return False
    return True


@inlined
def _host_to_end(classes: UInt32s, data: Bytes, start: int, end: int) -> bool:
    """Is `data[start:end]` HOST[:PORT][/PATH]?"""
    # `dots` before the current name, its characters, whether all of them are lower case, whether the last is a hyphen.
    at, dots, size, all_lower, hyphen = start, 0, 0, True, False
    while at < end:
        code, width = decode(data, at, end)
        if code == utf8.FULL_STOP:
            if size == 0 or size > LONGEST_NAME + 1 or hyphen:
                return False
            dots, size, all_lower = dots + 1, 0, True
        elif _is_in_name(code):
            hyphen = code == utf8.HYPHEN or code == utf8.UNDERSCORE
            if size == 0 and hyphen:
                return False
            all_lower = all_lower and class_at(classes, data, at, end) & ch.LOWER != 0
            size += 1
        else:
            break
        at += width
    if not (dots and all_lower and SHORTEST_TOP_LEVEL <= size <= LONGEST_NAME):
        return False
    if at < end and data[at] == utf8.COLON:
        port_end = at + 1
        while port_end < end and is_digit(data[port_end]):
            port_end += 1
        if not FEWEST_PORT_DIGITS <= port_end - at - 1 <= MOST_PORT_DIGITS:
            return False
        at = port_end
    return at == end or data[at] == utf8.SLASH or data[at] == utf8.QUESTION_MARK or data[at] == utf8.HASH_SIGN


@inlined
def _is_in_name(code: np.int64) -> bool:
    """May the character be part of a host's name?"""
    if code < utf8.FIRST_NON_ASCII:
        is_letter = utf8.UPPER_A <= code <= utf8.UPPER_Z or utf8.LOWER_A <= code <= utf8.LOWER_Z
        return is_letter or is_digit(code) or code == utf8.HYPHEN or code == utf8.UNDERSCORE
    return FIRST_NAME_CHARACTER <= code <= LAST_NAME_CHARACTER
