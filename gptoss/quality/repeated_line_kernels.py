"""Kernels on the UTF-8 bytes of a batch of texts: hash every line, and copy texts without some of their lines.

    line_keys:      for each line of each text: key = mix(hash(words joined by one space) xor scope of the text)
    without_lines:  for each text: copy the lines that are not marked, joined by line feeds,
                    with at most one empty line where lines were removed

Plain-Python references: `tests/quality/test_repeated_lines.py`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.hashing import Hashes
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import decode
from gptoss.quality.rules.compiled import Bytes, Flags, Int64s, UInt32s, inlined, kernel

# Every byte between the space and the first lead byte of two-byte sequences is part of a word: printable ASCII, DEL,
# or the continuation of a character that is already known not to be white space.
FIRST_LEAD_BYTE = 0xC2
# FNV-1a, 64 bits (Fowler, Noll, Vo): one multiplication per byte, and lines are short.
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
# The finaliser of MurmurHash3 (Appleby, fmix64).
MURMUR_SHIFT, MURMUR_1, MURMUR_2 = np.uint64(33), np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)


@inlined
def mix(value: np.uint64) -> np.uint64:
    """A bijection in which every output bit depends on every input bit. FNV's high bits depend little on the last
    bytes, but ranges of keys (`repeated_lines.count_documents`) need them evenly distributed."""
    value ^= value >> MURMUR_SHIFT
    value *= MURMUR_1
    value ^= value >> MURMUR_SHIFT
    value *= MURMUR_2
    return value ^ (value >> MURMUR_SHIFT)


@inlined
def space_width(classes: UInt32s, data: Bytes, at: int, end: int) -> int:
    """Bytes of the white space character (`str.isspace`) at `at`; 0 if there is none."""
    if utf8.SPACE_BYTE < data[at] < FIRST_LEAD_BYTE:  # nearly all bytes
        return 0
    code, width = decode(data, at, end)
    return width if classes[code] & ch.SPACE else 0


@kernel
def line_offsets(data: Bytes, offsets: Int64s) -> Int64s:
    """The lines of text i are `result[i]:result[i + 1]`, int64 [texts + 1]; n line feeds make n + 1 lines."""
    result = np.zeros(len(offsets), dtype=np.int64)
    for text in range(len(offsets) - 1):
        count = 1
        for at in range(offsets[text], offsets[text + 1]):
            count += data[at] == utf8.LINE_FEED
        result[text + 1] = result[text] + count
    return result


@kernel
def line_keys(
    classes: UInt32s, data: Bytes, offsets: Int64s, lines: Int64s, scopes: Hashes, min_words: int
) -> tuple[Hashes, Hashes]:
    """A key per line, uint64 [lines], 0 for lines of fewer than `min_words` words, and a hash of all words per text,
    uint64 [texts]. `lines` is the result of `line_offsets`."""
    keys = np.zeros(lines[-1], dtype=np.uint64)
    contents = np.zeros(len(offsets) - 1, dtype=np.uint64)
    for text in range(len(offsets) - 1):
        line, end = lines[text], offsets[text + 1]
        content = FNV_OFFSET
        value, words, gap = FNV_OFFSET, 0, True  # gap: the next character starts a word
        at = offsets[text]
        while at <= end:  # the end of the text ends its last line
            if at == end or data[at] == utf8.LINE_FEED:
                if words >= min_words:
                    keys[line] = max(mix(value ^ scopes[text]), np.uint64(1))  # 0 means: too short
                if words:
                    content = mix(content ^ value) * FNV_PRIME
                line += 1
                value, words, gap = FNV_OFFSET, 0, True
                at += 1
                continue
            width = space_width(classes, data, at, end)
            if width:
                gap = True
                at += width
                continue
            if gap:
                if words:
                    value = (value ^ np.uint64(utf8.SPACE_BYTE)) * FNV_PRIME
                words += 1
                gap = False
            value = (value ^ np.uint64(data[at])) * FNV_PRIME
            at += 1
        contents[text] = content
    return keys, contents


@kernel
def without_lines(classes: UInt32s, data: Bytes, offsets: Int64s, lines: Int64s, marked: Flags) -> tuple[Bytes, Int64s]:
    """The texts without the lines in `marked`, bool [lines]: bytes and offsets. Of the empty lines around a removed
    one, one is kept, and a text that lost lines does not end with empty ones; other texts are copied unchanged."""
    out = np.empty(len(data), dtype=np.uint8)
    bounds = np.zeros(len(offsets), dtype=np.int64)
    size = 0
    for text in range(len(offsets) - 1):
        begin = size
        removed_since_content = False  # a line was removed since the last line with content
        any_removed = False
        last_empty = True  # the line written last is empty, or there is none
        content_end = size  # where the last line with content ends
        at, end = offsets[text], offsets[text + 1]
        for line in range(lines[text], lines[text + 1]):
            start = at
            empty = True
            while at < end and data[at] != utf8.LINE_FEED:
                width = space_width(classes, data, at, end) if empty else 1
                if width == 0:
                    empty = False
                at += max(width, 1)
            stop = at
            at += 1
            if marked[line]:
                removed_since_content = any_removed = True
                continue
            if empty and last_empty and removed_since_content:
                continue
            if line > lines[text] and (size > begin or not any_removed):
                out[size] = utf8.LINE_FEED
                size += 1
            out[size : size + stop - start] = data[start:stop]
            size += stop - start
            last_empty = empty
            if not empty:
                content_end = size
                removed_since_content = False
        if any_removed:
            size = content_end
        bounds[text + 1] = size
    return out[:size].copy(), bounds
