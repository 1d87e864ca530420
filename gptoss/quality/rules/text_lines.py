"""Kernels for lines and paragraphs: where they end, their length, and how many repeat an earlier one.

    line_end:        end of a line as str.splitlines cuts it
    split_pieces:    cut at runs of at least n line feeds; hash and length of each piece
    count_repeated:  pieces whose hash occurred before, with an open-addressed hash table

Plain-Python references: `tests/quality/rules/test_kernels.py`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import class_at, class_before, decode, previous_character, word_hash
from gptoss.quality.rules.compiled import Bytes, Int32s, Int64s, UInt32s, inlined, kernel, leaf

SMALLEST_TABLE = 8  # slots; a power of two, so that a mask replaces the remainder


@inlined
def line_end(data: Bytes, start: int) -> tuple[int, int]:
    """End of the line that starts at `start`, and start of the next one, as `str.splitlines` cuts them."""
    at, end = start, len(data)
    while at < end:
        byte = data[at]
        if byte < utf8.SPACE_BYTE:
            if byte == utf8.CARRIAGE_RETURN and at + 1 < end and data[at + 1] == utf8.LINE_FEED:
                return at, at + 2
            if utf8.LINE_FEED <= byte <= utf8.CARRIAGE_RETURN or utf8.FILE_SEPARATOR <= byte <= utf8.RECORD_SEPARATOR:
                return at, at + 1
        elif byte == utf8.NEXT_LINE_1:
            if at + 1 < end and data[at + 1] == utf8.NEXT_LINE_2:
                return at, at + 2
        elif byte == utf8.PUNCTUATION_1:
            last = data[at + 2] if at + 2 < end and data[at + 1] == utf8.PUNCTUATION_2 else 0
            if last == utf8.LINE_SEPARATOR_3 or last == utf8.PARAGRAPH_SEPARATOR_3:
                return at, at + 3
        at += 1
    return end, end


@inlined
def strip(classes: UInt32s, data: Bytes, start: int, end: int) -> tuple[int, int]:
    """The part of `data[start:end]` without surrounding white space."""
    while start < end and class_at(classes, data, start, end) & ch.SPACE:
        start += decode(data, start, end)[1]
    while end > start and class_before(classes, data, start, end) & ch.SPACE:
        end = previous_character(data, start, end)
    return start, end


@inlined
def count_characters(data: Bytes, start: int, end: int) -> int:
    """Characters in `data[start:end]`: bytes that do not continue one."""
    count = 0
    for at in range(start, end):
        count += (data[at] & utf8.CONTINUATION_MASK) != utf8.CONTINUATION
    return count


@inlined
def table_slots(entries: int) -> int:
    """Slots of a hash table for `entries` entries: at most half of them are filled, which keeps probing short."""
    slots = SMALLEST_TABLE
    while slots < 2 * entries:
        slots *= 2
    return slots


@leaf
def split_pieces(data: Bytes, start: int, end: int, breaks: int, hashes: Int64s, lengths: Int32s) -> int:
    """Cut `data[start:end]` at each run of at least `breaks` line feeds; fill the hashes of the pieces and their
    lengths in characters, and return how many there are."""
    count, piece, at = 0, start, start
    while at < end:
        if data[at] != utf8.LINE_FEED:
            at += 1
            continue
        run_end = at
        while run_end < end and data[run_end] == utf8.LINE_FEED:
            run_end += 1
        if run_end - at >= breaks:
            hashes[count], lengths[count] = word_hash(data, piece, at), count_characters(data, piece, at)
            count, piece = count + 1, run_end
        at = run_end
    hashes[count], lengths[count] = word_hash(data, piece, end), count_characters(data, piece, end)
    return count + 1


@kernel
def count_repeated(hashes: Int64s, lengths: Int32s, count: int) -> tuple[int, int]:
    """How many of the pieces repeat an earlier one, and the characters in those."""
    slots = table_slots(count)
    table = np.zeros(slots, dtype=np.int64)  # 0 marks an empty slot: `word_hash` is never 0
    repeated, characters = 0, 0
    for piece in range(count):
        key = hashes[piece]
        slot = key & (slots - 1)
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if table[slot] == key:
            repeated, characters = repeated + 1, characters + lengths[piece]
        table[slot] = key
    return repeated, characters
