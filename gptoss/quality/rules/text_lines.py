"""Lines and paragraphs in bytes, and how much of them is repeated."""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import (
    Bytes,
    Int32s,
    Int64s,
    UInt32s,
    before,
    class_at,
    class_before,
    decode,
    word_hash,
)
from gptoss.quality.rules.compiled import inlined, kernel, leaf

SPACE, BREAK = ch.SPACE, ch.BREAK


@inlined
def line_end(data: Bytes, start: int) -> tuple[int, int]:
    """End of the line that starts at `start`, and start of the next one, as `str.splitlines` cuts them."""
    i, end = start, len(data)
    while i < end:
        b = data[i]
        if b < 32:
            if b == 13 and i + 1 < end and data[i + 1] == 10:
                return i, i + 2
            if 10 <= b <= 13 or 28 <= b <= 30:
                return i, i + 1
        elif b == 0xC2 and i + 1 < end and data[i + 1] == 0x85:
            return i, i + 2
        elif b == 0xE2 and i + 2 < end and data[i + 1] == 0x80 and (data[i + 2] == 0xA8 or data[i + 2] == 0xA9):
            return i, i + 3
        i += 1
    return end, end


@inlined
def strip(classes: UInt32s, data: Bytes, a: int, b: int) -> tuple[int, int]:
    """`data[a:b]` without white space around it."""
    while a < b and class_at(classes, data, a, b) & SPACE:
        a += decode(data, a, b)[1]
    while b > a and class_before(classes, data, a, b) & SPACE:
        b = before(data, a, b)
    return a, b


@inlined
def characters(data: Bytes, a: int, b: int) -> int:
    """Characters in `data[a:b]`."""
    count = 0
    for i in range(a, b):
        count += (data[i] & 0xC0) != 0x80
    return count


@leaf
def pieces(data: Bytes, a: int, b: int, breaks: int, hashes: Int64s, lengths: Int32s) -> int:
    """Cut `data[a:b]` at each run of at least `breaks` line feeds; fill the pieces' hashes and lengths in characters
    and return how many there are."""
    count, start, i = 0, a, a
    while i < b:
        if data[i] != 10:
            i += 1
            continue
        run = i
        while run < b and data[run] == 10:
            run += 1
        if run - i >= breaks:
            hashes[count], lengths[count] = word_hash(data, start, i), characters(data, start, i)
            count, start = count + 1, run
        i = run
    hashes[count], lengths[count] = word_hash(data, start, b), characters(data, start, b)
    return count + 1


@kernel
def repeated(hashes: Int64s, lengths: Int32s, count: int) -> tuple[int, int]:
    """How many of the pieces repeat an earlier one, and the characters in those."""
    slots = 8
    while slots < 2 * count:
        slots *= 2
    seen = np.zeros(slots, dtype=np.int64)
    number, total = 0, 0
    for k in range(count):
        key = hashes[k]
        slot = key & (slots - 1)
        while seen[slot] != 0 and seen[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if seen[slot] == key:
            number, total = number + 1, total + lengths[k]
        seen[slot] = key
    return number, total
