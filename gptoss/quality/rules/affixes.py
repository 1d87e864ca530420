"""Kernels below the tokenizer: characters of a text, exceptions, and what is split off the start and end of a word.

    exception_pieces:  look up data[start:end] in the hash table of `tokenizer_exceptions.py`
    prefix_size:       bytes of the mark that starts the word, by the rules of `words.py`
    suffix_size:       bytes of the mark, unit or 's that ends it

References: `spacy.lang.punctuation`, `spacy.lang.en.punctuation` (MIT), with the regular expressions written as code.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import functools

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.compiled import Bytes, Int64s, UInt32s, inlined
from gptoss.quality.rules.tokenizer_exceptions import tokenizer_exceptions

# The table of exceptions is one int64 array, because kernels take arrays: three sections of 256, SLOTS and SLOTS.
SLOTS = 4096  # a power of two, so that a mask replaces the remainder; 1,343 exceptions fill it to a third
MASK = SLOTS - 1
KEYS, PIECES = 256, 256 + SLOTS  # where the second and third section start
PIECE_BITS, PIECE_MASK = 8, 0xFF  # the lengths of the pieces are packed into one number
LONGEST_EXCEPTION = 31  # bytes; the set of lengths is a bit set
# Units that are split off a number, packed as their bytes: a unit is compared as one integer.
UNITS = "km m dm cm mm ha nm yd in ft kg g mg t lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %"
PACKED_UNITS = np.array([int.from_bytes(unit.encode(), "big") for unit in UNITS.split()], dtype=np.int64)
LONGEST_UNIT = 4
# FNV-1a with a final mix, in signed integers (the offset without its sign bit): Numba, like NumPy, computes int64 with
# uint64 in float64, and positions are int64.
HASH_OFFSET, HASH_PRIME = np.int64(0x4BF29CE484222325), np.int64(0x100000001B3)
MIX_SHIFT_1, MIX_MASK_1 = 29, np.int64(0x7FFFFFFFF)  # the masks make signed shifts logical ones
MIX_SHIFT_2, MIX_MASK_2 = 32, np.int64(0xFFFFFFFF)
MIX_MULTIPLIER = np.int64(0x2F58476D1CE4E5B9)
REPLACEMENT_CHARACTER, LAST_CODE_POINT = np.int64(0xFFFD), np.int64(0x10FFFF)


@functools.cache
def exception_table() -> Int64s:
    """The exceptions, int64 [256 + 2 SLOTS]: for each first byte the bit set of lengths; an open-addressed table of
    hashes, 0 where empty; and in the same slots the packed lengths of the pieces in bytes."""
    result = np.zeros(256 + 2 * SLOTS, dtype=np.int64)
    for word, pieces in tokenizer_exceptions().items():
        data = np.frombuffer(bytearray(word.encode()), dtype=np.uint8)
        key = word_hash(data, 0, len(data))
        slot = key & MASK
        while result[KEYS + slot]:
            slot = (slot + 1) & MASK
        result[KEYS + slot] = key
        result[PIECES + slot] = sum(len(piece.encode()) << (PIECE_BITS * number) for number, piece in enumerate(pieces))
        result[data[0]] |= 1 << len(data)
    return result


@inlined
def word_hash(data: Bytes, start: int, end: int) -> int:
    """64-bit hash of `data[start:end]`, never 0, which marks empty slots."""
    value = HASH_OFFSET
    for at in range(start, end):
        value = (value ^ np.int64(data[at])) * HASH_PRIME
    value ^= (value >> MIX_SHIFT_1) & MIX_MASK_1
    value *= MIX_MULTIPLIER
    value ^= (value >> MIX_SHIFT_2) & MIX_MASK_2
    return value | 1


@inlined
def decode(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Code point that starts at `data[at]`, and its bytes; a broken sequence is one byte, U+FFFD."""
    first = np.int64(data[at])
    if first < utf8.FIRST_NON_ASCII:
        return first, 1
    width = 2 if first < 0xE0 else (3 if first < 0xF0 else 4)
    # 0x80 to 0xC1 and 0xF5 to 0xFF start no sequence (RFC 3629).
    if first < 0xC2 or first > 0xF4 or at + width > end:
        return REPLACEMENT_CHARACTER, 1
    code = first & (0x7F >> width)
    for step in range(1, width):
        code = (code << 6) | (np.int64(data[at + step]) & 0x3F)
    return min(code, LAST_CODE_POINT), width  # the code indexes the table of classes, also for broken input


@inlined
def class_at(classes: UInt32s, data: Bytes, at: int, end: int) -> int:
    """Bit set of the character that starts at `at`; 0 at or after `end`."""
    if at >= end:
        return np.int64(0)
    if data[at] < utf8.FIRST_NON_ASCII:
        return np.int64(classes[data[at]])
    return np.int64(classes[decode(data, at, end)[0]])


@inlined
def previous_character(data: Bytes, start: int, at: int) -> int:
    """Where the character before `at` starts; -1 if there is none after `start`."""
    if at <= start:
        return -1
    at -= 1
    while at > start and (data[at] & utf8.CONTINUATION_MASK) == utf8.CONTINUATION:
        at -= 1
    return at


@inlined
def class_before(classes: UInt32s, data: Bytes, start: int, at: int) -> int:
    """Bit set of the character before `at`; 0 if there is none after `start`."""
    previous = previous_character(data, start, at)
    return np.int64(0) if previous < 0 else class_at(classes, data, previous, at)


@inlined
def is_digit(byte: int) -> bool:
    """Is the byte one of 0 to 9?"""
    return utf8.ZERO <= byte <= utf8.NINE


@inlined
def full_stops(data: Bytes, at: int, end: int) -> int:
    """How many full stops start at `at`."""
    size = 0
    while at + size < end and data[at + size] == utf8.FULL_STOP:
        size += 1
    return size


@inlined
def exception_pieces(exceptions: Int64s, data: Bytes, start: int, end: int) -> int:
    """The packed lengths of the pieces of the exception `data[start:end]`; 0 if it is none."""
    size = end - start
    # Most words are rejected here, by first byte and length, without being hashed.
    if size <= 0 or size > LONGEST_EXCEPTION or not (exceptions[data[start]] >> size) & 1:
        return np.int64(0)
    key = word_hash(data, start, end)
    slot = key & MASK
    while exceptions[KEYS + slot]:
        # Equal hashes are taken for equal words: 64 bits against the 1,343 entries of a fixed table.
        if exceptions[KEYS + slot] == key:
            return exceptions[PIECES + slot]
        slot = (slot + 1) & MASK
    return np.int64(0)


@inlined
def prefix_size(classes: UInt32s, data: Bytes, start: int, end: int) -> int:
    """Bytes to split off the start of the word `data[start:end]`."""
    if start >= end:
        return 0
    first = data[start]
    if class_at(classes, data, start, end) & ch.PREFIX:
        return decode(data, start, end)[1]
    if first == utf8.PLUS and not (start + 1 < end and is_digit(data[start + 1])):
        return 1
    if first == utf8.FULL_STOP:
        size = full_stops(data, start, end)
        return size if size > 1 else 0
    if start + 1 < end and (first == utf8.UPPER_A or first == utf8.UPPER_C) and data[start + 1] == utf8.DOLLAR:  # A$ C$
        return 2
    if start + 2 < end and first == utf8.UPPER_U and data[start + 1] == utf8.UPPER_S:
        return 3 if data[start + 2] == utf8.DOLLAR else 0  # US$
    return 0


@inlined
def suffix_size(classes: UInt32s, data: Bytes, start: int, end: int) -> int:
    """Bytes to split off the end of the word `data[start:end]`."""
    last = previous_character(data, start, end)
    if last < 0:
        return 0
    byte, kind = data[last], class_at(classes, data, last, end)
    if byte == utf8.FULL_STOP:
        return _final_full_stops(classes, data, start, last)
    if kind & ch.SUFFIX:
        return end - last
    if byte == utf8.LOWER_S or byte == utf8.UPPER_S:  # 's and ’s
        if last - 1 >= start and data[last - 1] == utf8.APOSTROPHE:
            return 2
        if (
            last - 3 >= start
            and data[last - 3] == utf8.PUNCTUATION_1
            and data[last - 2] == utf8.PUNCTUATION_2
            and data[last - 1] == utf8.APOSTROPHE_3
        ):
            return 4
    if class_before(classes, data, start, last) & ch.DIGIT and (byte == utf8.PLUS or kind & ch.CURRENCY):
        return end - last
    return _unit(data, start, end) if kind & ch.ALPHABETIC or byte == utf8.PERCENT else 0


@inlined
def _final_full_stops(classes: UInt32s, data: Bytes, start: int, last: int) -> int:
    """Bytes to split off the end of a word with a full stop at `last`."""
    first = last
    while first > start and data[first - 1] == utf8.FULL_STOP:
        first -= 1
    if first < last:
        return last + 1 - first
    previous = previous_character(data, start, last)
    if previous < 0:
        return 0
    kind = class_at(classes, data, previous, last)
    # A full stop after one capital belongs to an initial ("J."), after two it ends a sentence ("NATO.").
    if kind & ch.BEFORE_DOT or (kind & ch.UPPER and class_before(classes, data, start, previous) & ch.UPPER):
        return 1
    return 0


@inlined
def _unit(data: Bytes, start: int, end: int) -> int:
    """Bytes of the unit of measurement that follows a digit at the end of a word."""
    packed = np.int64(0)
    for size in range(1, LONGEST_UNIT + 2):
        at = end - size
        if at < start or data[at] >= utf8.FIRST_NON_ASCII:
            return 0
        if is_digit(data[at]):
            for unit in PACKED_UNITS:
                if unit == packed:
                    return size - 1
            return 0
        packed |= np.int64(data[at]) << (8 * (size - 1))
    return 0
