"""Find, lowercase and hash the words of texts in one pass over their bytes.

Most bytes are ASCII, so eight of them are processed at a time as one little-endian number ("SIMD within a register",
Lamport 1975); one character at a time only at other characters and near the end of a text.
"""

from __future__ import annotations

import numpy as np

from gptoss.text.kernels.compiler import BYTES, CODE_POINTS, INTEGERS, UNALIGNED, UNALIGNED_OUT, inline, kernel, mix

_ALL_BITS = np.uint64(2**64 - 1)
_ONE, _TWO, _EIGHT, _FIFTY_SIX = np.uint64(1), np.uint64(2), np.uint64(8), np.uint64(56)
# Constants for eight bytes at a time: one value repeated in every byte.
_EACH_BYTE = np.uint64(0x0101010101010101)
_LOW_BITS, _HIGH_BIT = _EACH_BYTE * np.uint64(0x7F), _EACH_BYTE * np.uint64(0x80)
_CASE_BIT, _UNDERSCORE = _EACH_BYTE * np.uint64(0x20), _EACH_BYTE * np.uint64(ord("_"))
# Added to bytes below 0x80, each sets the high bit of the bytes from this character on ("a" and beyond, past "z" …).
_FROM_A, _PAST_Z = _EACH_BYTE * np.uint64(0x80 - ord("a")), _EACH_BYTE * np.uint64(0x80 - ord("z") - 1)
_FROM_0, _PAST_9 = _EACH_BYTE * np.uint64(0x80 - ord("0")), _EACH_BYTE * np.uint64(0x80 - ord("9") - 1)
_SPACE = np.uint8(ord(" "))


@inline
def _decode(data, place, end):  # type: ignore[no-untyped-def]
    """Code point at `place` and its length in bytes; (0, 1) where the bytes are not UTF-8, as 0 is in no word."""
    lead = np.int64(data[place])
    # 0xC0 and 0xC1 would begin overlong encodings, 0xF5 and above code points past the end of Unicode.
    length = 1 if lead < 0xC2 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4 if lead < 0xF5 else 1
    if length == 1 or place + length > end:
        return np.int64(0), np.int64(1)
    point = lead & (0x7F >> length)
    for offset in range(1, length):
        follower = np.int64(data[place + offset])
        if follower & 0xC0 != 0x80:
            return np.int64(0), np.int64(1)
        point = point << 6 | follower & 0x3F
    if point > 0x10FFFF or (length == 3 and point < 0x800) or (length == 4 and point < 0x10000):
        return np.int64(0), np.int64(1)
    return point, np.int64(length)


@inline
def _ascii_prefix(chunk, fold):  # type: ignore[no-untyped-def]
    """The ASCII word characters that eight bytes begin with.

    Returns these bytes (lowercased if `fold` is all ones, unchanged if it is 0; zeros after them), their number, and
    the byte after them (0 if there are eight). Every byte is compared within its low seven bits, so that no carry
    reaches its neighbour; bytes from 0x80 on are excluded at the end.
    """
    low = chunk & _LOW_BITS
    folded = low | _CASE_BIT  # also maps "[" to "{" and so on, which are outside of a to z again
    letters = (folded + _FROM_A) & ~(folded + _PAST_Z)
    digits = (low + _FROM_0) & ~(low + _PAST_9)
    not_underscore = (low ^ _UNDERSCORE) + _LOW_BITS
    other = ~(((letters & _HIGH_BIT) | (digits & _HIGH_BIT) | (~not_underscore & _HIGH_BIT)) & ~chunk) & _HIGH_BIT
    # `x ^ (x - 1)` sets all bits up to the lowest one of x; shifted by a byte, the bytes before the first other one.
    before = (other ^ (other - _ONE)) >> _EIGHT if other else _ALL_BITS
    # The product adds up all bytes in the highest one.
    count = np.int64(((before & _EACH_BYTE) * _EACH_BYTE) >> _FIFTY_SIX)
    following = np.int64(chunk >> np.uint64(8 * count)) & 0xFF if count < 8 else np.int64(0)
    # 0x80 >> 2 is the bit that distinguishes upper and lower case.
    return (chunk | ((letters & _HIGH_BIT) >> _TWO) & fold) & before, count, following


@inline
def _utf8_length(point):  # type: ignore[no-untyped-def]
    return 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4


@inline
def _utf8_byte(point, length, number):  # type: ignore[no-untyped-def]
    """Byte `number` of a code point whose encoding has `length` bytes."""
    bits = point >> 6 * (length - 1 - number)
    return bits if length == 1 else (0xF00 >> length) & 0xFF | bits if number == 0 else 0x80 | bits & 0x3F


@kernel(
    f"int64({BYTES}, {UNALIGNED}, {INTEGERS}, {CODE_POINTS}, boolean, uint8[::1], "
    f"{UNALIGNED_OUT}, int64[::1], int64[::1], int64[::1], uint64[::1], int64[::1])"
)
def scan_words(  # type: ignore[no-untyped-def]
    data, data_u64, bounds, character_map, keep_original, out, out_u64, out_bounds, starts, ends, hashes, offsets
):
    """Find the words of texts, write them lowercased, and hash them. Returns the number of words.

        for each text, for each longest run of characters with character_map[character] >= 0:
            append the mapped characters to `out`, after a space unless it is the first word of the text
            h = 0; for each eight bytes of the word: h = mix(h ^ bytes); record start, end and h

    Text i is `data[bounds[i]:bounds[i + 1]]` and becomes `out[out_bounds[i]:out_bounds[i + 1]]`; its words are
    `offsets[i]:offsets[i + 1]`. `starts` and `ends` are positions in `out`, or in `data` with `keep_original`.
    `data_u64` and `out_u64` are `data` and `out` as the uint64 at every byte.
    """
    fold = np.uint64(0) if keep_original else _ALL_BITS
    words = written = 0
    out_bounds[0] = offsets[0] = 0
    for text in range(len(bounds) - 1):
        place, end = bounds[text], bounds[text + 1]
        first_word = words
        while place < end:
            begin = place
            out_begin = written + 1 if words > first_word else written  # leaves room for the space
            to = out_begin
            hashed, chunk, chunk_bits = np.uint64(0), np.uint64(0), np.uint64(0)
            length = np.int64(1)
            while place < end:
                if chunk_bits == 0 and place + 8 <= end:
                    chunk, count, following = _ascii_prefix(data_u64[place], fold)
                    # Always writes eight bytes: those after the word are overwritten by the next one.
                    out_u64[to] = chunk
                    place += count
                    to += count
                    if count == 8:
                        hashed = mix(hashed ^ chunk)
                        chunk = np.uint64(0)
                        continue
                    chunk_bits = np.uint64(8 * count)
                    if following < 0x80:
                        break
                point, length = np.int64(data[place]), np.int64(1)
                if point >= 0x80:
                    point, length = _decode(data, place, end)
                mapped = np.int64(character_map[point])
                if mapped < 0:
                    break
                place += length
                length = np.int64(1)
                size = _utf8_length(mapped)
                for number in range(size):
                    value = _utf8_byte(mapped, size, number)
                    out[to] = value
                    to += 1
                    chunk |= np.uint64(value) << chunk_bits
                    chunk_bits += _EIGHT
                    if chunk_bits == 64:
                        hashed = mix(hashed ^ chunk)
                        chunk, chunk_bits = np.uint64(0), np.uint64(0)
            if to > out_begin:
                if words > first_word:
                    out[written] = _SPACE
                starts[words] = begin if keep_original else out_begin
                ends[words] = place if keep_original else to
                hashes[words] = mix(hashed ^ chunk) if chunk_bits > 0 else hashed
                words += 1
                written = to
            place += length  # the character that ended the word
            # Between words mostly ASCII follows (punctuation, line breaks); skip it here, without setting up a word.
            while place < end and data[place] < 0x80 and character_map[data[place]] < 0:
                place += 1
        out_bounds[text + 1] = written
        offsets[text + 1] = words
    return words
