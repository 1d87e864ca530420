"""What splits off the start and the end of a word, and the exceptions: see `words.py` for the definition."""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import exceptions
from gptoss.quality.rules.compiled import inlined

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Spans = Int32s
UInt32s = npt.NDArray[np.uint32]

SLOTS = 4096
MASK = SLOTS - 1
KEYS, SPLITS = 256, 256 + SLOTS
LONGEST = 31
"""Bytes of the longest exception."""
UNITS = "km m dm cm mm ha nm yd in ft kg g mg t lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %"
PACKED_UNITS = np.array([int.from_bytes(unit.encode(), "big") for unit in UNITS.split()], dtype=np.int64)
SPACE, ALPHABETIC, LOWER, UPPER, DIGIT = ch.SPACE, ch.ALPHABETIC, ch.LOWER, ch.UPPER, ch.DIGIT
PREFIX, SUFFIX, QUOTE, ICON, CURRENCY = ch.PREFIX, ch.SUFFIX, ch.QUOTE, ch.ICON, ch.CURRENCY
BEFORE_DOT, NOT_PLAIN = ch.BEFORE_DOT, ch.NOT_PLAIN


@functools.cache
def known_words() -> Int64s:
    """The exceptions, int64 [256 + 2 SLOTS]: for each first byte the bit set of their lengths; an open-addressed
    table of their hashes, 0 where empty; and in the same slots their pieces' lengths in bytes, eight bits each."""
    known = np.zeros(256 + 2 * SLOTS, dtype=np.int64)
    for word, pieces in exceptions.pieces().items():
        data = np.frombuffer(bytearray(word.encode()), dtype=np.uint8)
        key = word_hash(data, 0, len(data))
        slot = key & MASK
        while known[KEYS + slot]:
            slot = (slot + 1) & MASK
        known[KEYS + slot] = key
        known[SPLITS + slot] = sum(len(piece.encode()) << (8 * number) for number, piece in enumerate(pieces))
        known[data[0]] |= 1 << len(data)
    return known


@inlined
def word_hash(data: Bytes, start: int, end: int) -> int:
    """64-bit hash of `data[start:end]` (FNV-1a with a final mix), never 0."""
    h = np.int64(0x4BF29CE484222325)
    for i in range(start, end):
        h = (h ^ np.int64(data[i])) * np.int64(0x100000001B3)
    h ^= (h >> 29) & np.int64(0x7FFFFFFFF)
    h *= np.int64(0x2F58476D1CE4E5B9)
    h ^= (h >> 32) & np.int64(0xFFFFFFFF)
    return h | 1


@inlined
def decode(data: Bytes, i: int, end: int) -> tuple[int, int]:
    """Code point that starts at `data[i]` and its bytes; a broken sequence is one byte, U+FFFD."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, 1
    width = 2 if b < 0xE0 else (3 if b < 0xF0 else 4)
    if b < 0xC2 or b > 0xF4 or i + width > end:
        return np.int64(0xFFFD), 1
    code = b & (0x7F >> width)
    for k in range(1, width):
        code = (code << 6) | (np.int64(data[i + k]) & 0x3F)
    return min(code, np.int64(0x10FFFF)), width


@inlined
def class_at(classes: UInt32s, data: Bytes, i: int, end: int) -> int:
    """Bit set of the character that starts at `i`; 0 at or after `end`."""
    if i >= end:
        return np.int64(0)
    if data[i] < 0x80:
        return np.int64(classes[data[i]])
    return np.int64(classes[decode(data, i, end)[0]])


@inlined
def before(data: Bytes, start: int, i: int) -> int:
    """Where the character that ends before `i` starts; -1 where there is none after `start`."""
    if i <= start:
        return -1
    i -= 1
    while i > start and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i


@inlined
def class_before(classes: UInt32s, data: Bytes, start: int, i: int) -> int:
    """Bit set of the character that ends before `i`; 0 where there is none after `start`."""
    at = before(data, start, i)
    return np.int64(0) if at < 0 else class_at(classes, data, at, i)


@inlined
def exception(known: Int64s, data: Bytes, a: int, b: int) -> int:
    """The packed lengths of the pieces of `data[a:b]`; 0 if it is no exception."""
    size = b - a
    if size <= 0 or size > LONGEST or not (known[data[a]] >> size) & 1:
        return np.int64(0)
    key = word_hash(data, a, b)
    slot = key & MASK
    while known[KEYS + slot]:
        if known[KEYS + slot] == key:
            return known[SPLITS + slot]
        slot = (slot + 1) & MASK
    return np.int64(0)


@inlined
def prefix(classes: UInt32s, data: Bytes, a: int, b: int) -> int:
    """Bytes to split off the start of the word `data[a:b]`."""
    if a >= b:
        return 0
    c = data[a]
    if class_at(classes, data, a, b) & PREFIX:
        return decode(data, a, b)[1]
    if c == 43 and not (a + 1 < b and 48 <= data[a + 1] <= 57):  # +
        return 1
    if c == 46:
        size = 1
        while a + size < b and data[a + size] == 46:
            size += 1
        return size if size > 1 else 0
    if a + 2 < b and c == 85 and data[a + 1] == 83 and data[a + 2] == 36:  # US$
        return 3
    if a + 1 < b and (c == 65 or c == 67) and data[a + 1] == 36:  # A$ C$
        return 2
    return 0


@inlined
def suffix(classes: UInt32s, data: Bytes, a: int, b: int) -> int:
    """Bytes to split off the end of the word `data[a:b]`."""
    last = before(data, a, b)
    if last < 0:
        return 0
    c, kind = data[last], class_at(classes, data, last, b)
    if c == 46:
        return _dots(classes, data, a, last)
    if kind & SUFFIX:
        return b - last
    if c == 115 or c == 83:  # s S
        if last - 1 >= a and data[last - 1] == 39:
            return 2
        if last - 3 >= a and data[last - 3] == 0xE2 and data[last - 2] == 0x80 and data[last - 1] == 0x99:
            return 4
    previous = class_before(classes, data, a, last)
    if previous & DIGIT and (c == 43 or kind & CURRENCY):
        return b - last
    return _unit(classes, data, a, b) if kind & ALPHABETIC or c == 37 else 0


@inlined
def _dots(classes: UInt32s, data: Bytes, a: int, last: int) -> int:
    """Bytes to split off the end of a word with a full stop at `last`."""
    first = last
    while first > a and data[first - 1] == 46:
        first -= 1
    if first < last:
        return last + 1 - first
    previous = before(data, a, last)
    if previous < 0:
        return 0
    kind = class_at(classes, data, previous, last)
    if kind & BEFORE_DOT or (kind & UPPER and class_before(classes, data, a, previous) & UPPER):
        return 1
    return 0


@inlined
def _unit(classes: UInt32s, data: Bytes, a: int, b: int) -> int:
    """Bytes of the unit of measurement after a digit at the end of a word."""
    packed = np.int64(0)
    for size in range(1, 6):
        i = b - size
        if i < a or data[i] >= 0x80:
            return 0
        if 48 <= data[i] <= 57:
            for unit in PACKED_UNITS:
                if unit == packed:
                    return size - 1
            return 0
        packed |= np.int64(data[i]) << (8 * (size - 1))
    return 0
