"""The loops that every byte or every shingle goes through, compiled by Numba: integers only, the same on any machine.

Compiled once for a machine and kept in `__pycache__`; import this module inside functions, as importing Numba takes a
third of a second. Arguments are checked by nobody: the modules that call are the ones that know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

Kernel = Callable[..., Any]

BASE = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_U30, _U27, _U31, _U32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_U2, _U8, _U56, _ONE = np.uint64(2), np.uint64(8), np.uint64(56), np.uint64(1)
_ALL = np.uint64(2**64 - 1)
_ONES = np.uint64(0x0101010101010101)
_LOW, _HIGH, _CASE, _LINE = (
    _ONES * np.uint64(0x7F),
    _ONES * np.uint64(0x80),
    _ONES * np.uint64(0x20),
    _ONES * np.uint64(0x5F),
)
_FROM_A, _PAST_Z = _ONES * np.uint64(0x80 - 0x61), _ONES * np.uint64(0x80 - 0x7B)
_FROM_0, _PAST_9 = _ONES * np.uint64(0x80 - 0x30), _ONES * np.uint64(0x80 - 0x3A)
"""Constants for eight bytes at once: added to a byte of seven bits, they set its eighth from that character on."""
_BLOCK = 1024
"""Shingles hashed at a time: they stay in the nearest cache over all permutations."""

BYTES = "Array(uint8, 1, 'C', readonly=True)"
LONGS = "Array(int64, 1, 'C', readonly=True)"
HASHES = "Array(uint64, 1, 'C', readonly=True)"
POINTS = "Array(int32, 1, 'C', readonly=True)"
EIGHTS = "Array(uint64, 1, 'A', readonly=True, aligned=False)"
HALVES = "Array(uint32, 1, 'C', readonly=True)"


def _kernel(signature: str) -> Callable[[Kernel], Kernel]:
    """Compile for these types only, so that read-only buffers and own arrays share one version."""
    compiled: Callable[[Kernel], Kernel] = njit(signature, cache=True, nogil=True)
    return compiled


def _inline(function: Kernel) -> Kernel:
    compiled: Kernel = njit(function, inline="always")
    return compiled


@_inline
def _mix(value):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser (Steele et al. 2014): a bijection of 64 bits."""
    value = value + BASE
    value = (value ^ (value >> _U30)) * _M1
    value = (value ^ (value >> _U27)) * _M2
    return value ^ (value >> _U31)


@_inline
def _decode(data, place, end):  # type: ignore[no-untyped-def]
    """Code point at `place` (0, which is no word character, where the bytes are not UTF-8) and its length."""
    lead = np.int64(data[place])
    length = 1 if lead < 0xC2 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4 if lead < 0xF5 else 1
    point = np.int64(0)
    if length > 1 and place + length <= end:
        point = lead & (0x7F >> length)
        for offset in range(1, length):
            follower = np.int64(data[place + offset])
            if follower & 0xC0 != 0x80:
                return np.int64(0), np.int64(1)
            point = point << 6 | follower & 0x3F
        if point > 0x10FFFF or (length == 3 and point < 0x800) or (length == 4 and point < 0x10000):
            return np.int64(0), np.int64(1)
        return point, np.int64(length)
    return np.int64(0), np.int64(1)


@_inline
def _ascii_word(eight, fold):  # type: ignore[no-untyped-def]
    """Of eight bytes as a number: the word characters of ASCII that it begins with, lowercased by `fold`, how many,
    and what follows them. Each byte is compared in its own seven bits, so no carry reaches the next byte."""
    low = eight & _LOW
    letter = low | _CASE
    letters = (letter + _FROM_A) & ~(letter + _PAST_Z)
    digits = (low + _FROM_0) & ~(low + _PAST_9)
    other = ~(((letters & _HIGH) | (digits & _HIGH) | (~((low ^ _LINE) + _LOW) & _HIGH)) & ~eight) & _HIGH
    # Ones up to the first byte that is no word character; all when there is none.
    before = (other ^ (other - _ONE)) >> _U8 if other else _ALL
    count = np.int64(((before & _ONES) * _ONES) >> _U56)
    following = np.int64(eight >> np.uint64(8 * count)) & 0xFF if count < 8 else np.int64(0)
    return (eight | ((letters & _HIGH) >> _U2) & fold) & before, count, following


@_kernel(
    f"int64({BYTES}, {EIGHTS}, {LONGS}, {POINTS}, boolean, uint8[::1], "
    "Array(uint64, 1, 'A', aligned=False), int64[::1], int64[::1], int64[::1], uint64[::1], int64[::1])"
)
def scan(data, eights, bounds, table, as_given, out, out_eights, out_bounds, starts, ends, hashes, offsets):  # type: ignore[no-untyped-def]
    """Find, map and hash the words of texts in one pass.

    `data[bounds[i]:bounds[i + 1]]` is text i; `table` maps a code point to what is written for it, -1 for one that is
    part of no word. Fills `out` with the words of each text with one space between them (text i is
    `out[out_bounds[i]:out_bounds[i + 1]]`), `starts` and `ends` of the words there (`as_given`: in `data`), their
    `hashes`, and `offsets`: words of text i are `offsets[i]:offsets[i + 1]`. Returns the number of words. `eights` and
    `out_eights` are `data` and `out` as numbers of eight bytes, at every byte: ASCII goes eight characters at a time.
    """
    fold = np.uint64(0) if as_given else _ALL
    words = written = 0
    out_bounds[0] = offsets[0] = 0
    for text in range(len(bounds) - 1):
        place, end = bounds[text], bounds[text + 1]
        first = words
        while place < end:
            begin = place
            base = written + 1 if words > first else written  # after a space
            to = base
            hashed, chunk, filled = np.uint64(0), np.uint64(0), np.uint64(0)
            length = np.int64(1)
            while place < end:
                if filled == 0 and place + 8 <= end:
                    chunk, count, following = _ascii_word(eights[place], fold)
                    out_eights[to] = chunk
                    place += count
                    to += count
                    if count == 8:
                        hashed = _mix(hashed ^ chunk)
                        chunk = np.uint64(0)
                        continue
                    filled = np.uint64(8 * count)
                    if following < 0x80:
                        break
                point, length = np.int64(data[place]), np.int64(1)
                if point >= 0x80:
                    point, length = _decode(data, place, end)
                mapped = np.int64(table[point])
                if mapped < 0:
                    break
                place += length
                length = np.int64(1)
                size = 1 if mapped < 0x80 else 2 if mapped < 0x800 else 3 if mapped < 0x10000 else 4
                for number in range(size):
                    bits = mapped >> 6 * (size - 1 - number)
                    value = bits if size == 1 else (0xF00 >> size) & 0xFF | bits if number == 0 else 0x80 | bits & 0x3F
                    out[to] = value
                    to += 1
                    chunk |= np.uint64(value) << filled
                    filled += np.uint64(8)
                    if filled == 64:
                        hashed = _mix(hashed ^ chunk)
                        chunk, filled = np.uint64(0), np.uint64(0)
            if to > base:
                if words > first:
                    out[written] = 32
                starts[words] = begin if as_given else base
                ends[words] = place if as_given else to
                hashes[words] = _mix(hashed ^ chunk) if filled > 0 else hashed
                words += 1
                written = to
            place += length  # the character that ended the word
            while place < end and data[place] < 0x80 and table[data[place]] < 0:
                place += 1
        out_bounds[text + 1] = written
        offsets[text + 1] = words
    return words


@_kernel(f"void({BYTES}, {EIGHTS}, {LONGS}, uint64[:, ::1])")
def digests(data, eights, bounds, out):  # type: ignore[no-untyped-def]
    """128 bits of each text `data[bounds[i]:bounds[i + 1]]`: `high` takes in eight bytes at a time, `low` every state
    of `high`, so that texts that differ anywhere must collide in both. `eights`: see `scan`. Empty texts are left."""
    for text in range(len(bounds) - 1):
        start, end = bounds[text], bounds[text + 1]
        if start == end:
            continue
        high, low = np.uint64(end - start), BASE
        place = start
        while place + 8 <= end:
            high = _mix(high ^ eights[place])
            low = _mix(low ^ high)
            place += 8
        chunk = np.uint64(0)
        for offset in range(end - place):
            chunk |= np.uint64(data[place + offset]) << np.uint64(8 * offset)
        high = _mix(high ^ chunk)
        out[text, 0], out[text, 1] = high, _mix(low ^ high)


@_kernel(f"void({HASHES}, int64, uint64[::1])")
def windows(hashes, size, out):  # type: ignore[no-untyped-def]
    """A polynomial in `BASE` of each window of `size` hashes, mixed; what lies past the end counts as zero."""
    count = len(hashes)
    top = np.uint64(1)
    for _ in range(size - 1):
        top *= BASE
    total = np.uint64(0)
    for place in range(size - 1):
        total = total * BASE + (hashes[place] if place < count else np.uint64(0))
    for place in range(count):
        ahead = place + size - 1
        total = total * BASE + (hashes[ahead] if ahead < count else np.uint64(0))
        out[place] = _mix(total)
        total -= hashes[place] * top


@_kernel(f"void({HASHES}, {LONGS}, int64, {LONGS}, uint64[::1])")
def shingles(hashes, offsets, size, places, out):  # type: ignore[no-untyped-def]
    """The windows of each text alone, those of text i from `out[places[i]]` on; a shorter text is one window."""
    for text in range(len(offsets) - 1):
        first = offsets[text]
        width = min(offsets[text + 1] - first, size)
        top = np.uint64(1)
        total = np.uint64(0)
        for place in range(width - 1):
            top *= BASE
            total = total * BASE + hashes[first + place]
        for place in range(places[text], places[text + 1]):
            total = total * BASE + hashes[first + width - 1]
            out[place] = _mix(total)
            total -= hashes[first] * top
            first += 1


@_kernel(f"void({HASHES}, {LONGS}, int64, {HALVES}, {HALVES}, int64, uint64[:, ::1])")
def min_hash(hashes, offsets, size, multiply, add, rows, keys):  # type: ignore[no-untyped-def]
    """Band keys of texts from the hashes of their shingles of `size` words; see minhash.py. Texts without words keep
    the keys they have."""
    smallest = np.empty(len(multiply), dtype=np.uint32)
    block = np.empty(_BLOCK + 3, dtype=np.uint32)
    for text in range(len(offsets) - 1):
        first = offsets[text]
        count = offsets[text + 1] - first
        if count == 0:
            continue
        width = min(count, size)
        shingles = count - width + 1
        top = np.uint64(1)
        total = np.uint64(0)
        for place in range(width - 1):
            top *= BASE
            total = total * BASE + hashes[first + place]
        for number in range(len(smallest)):
            smallest[number] = 0xFFFFFFFF
        for start in range(0, shingles, _BLOCK):
            filled = min(_BLOCK, shingles - start)
            for place in range(filled):
                here = first + start + place
                total = total * BASE + hashes[here + width - 1]
                block[place] = np.uint32(_mix(total) >> _U32)
                total -= hashes[here] * top
            while filled % 4:  # a set does not mind repetition
                block[filled] = block[filled - 1]
                filled += 1
            for place in range(0, filled, 4):
                one, two, three, four = block[place], block[place + 1], block[place + 2], block[place + 3]
                for number in range(len(smallest)):
                    factor = multiply[number]
                    summand = add[number]
                    a = np.uint32(one * factor + summand)
                    b = np.uint32(two * factor + summand)
                    c = np.uint32(three * factor + summand)
                    d = np.uint32(four * factor + summand)
                    smallest[number] = min(min(min(a, b), min(c, d)), smallest[number])
        for band in range(keys.shape[1]):
            key = np.uint64(band)
            for row in range(rows):
                key = _mix(key ^ np.uint64(smallest[band * rows + row]))
            keys[text, band] = key


@_kernel(f"int64(uint64[::1], {LONGS}, int64[::1])")
def compact(values, offsets, sizes):  # type: ignore[no-untyped-def]
    """Of sorted runs `values[offsets[i]:offsets[i + 1]]` keep the distinct ones, moved to the front; fills `sizes`."""
    written = 0
    for run in range(len(offsets) - 1):
        begin = written
        for place in range(offsets[run], offsets[run + 1]):
            if place == offsets[run] or values[place] != values[place - 1]:
                values[written] = values[place]
                written += 1
        sizes[run] = written - begin
    return written


@_kernel(f"void({HASHES}, {LONGS}, Array(int64, 2, 'C', readonly=True), int64[::1])")
def shared(hashes, offsets, pairs, counts):  # type: ignore[no-untyped-def]
    """How many values two sorted sets have in common, for each pair of sets `hashes[offsets[i]:offsets[i + 1]]`."""
    for pair in range(len(pairs)):
        i, end = offsets[pairs[pair, 0]], offsets[pairs[pair, 0] + 1]
        j, other_end = offsets[pairs[pair, 1]], offsets[pairs[pair, 1] + 1]
        count = np.int64(0)
        while i < end and j < other_end:
            a, b = hashes[i], hashes[j]
            count += np.int64(a == b)
            i += np.int64(a <= b)
            j += np.int64(b <= a)
        counts[pair] = count
