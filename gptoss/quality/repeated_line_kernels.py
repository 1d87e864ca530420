"""Lines of a batch of texts as hashes, and texts without some of their lines, straight on UTF-8 bytes."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

LINE_FEED = np.uint8(10)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


@numba.njit(cache=True, nogil=True)
def mixed(value: np.uint64) -> np.uint64:
    """A bijection in which every bit depends on every other (the finaliser of MurmurHash3)."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@numba.njit(cache=True, nogil=True)
def _space(data: Bytes, at: int, end: int) -> int:
    """Bytes of the white space character (Unicode White_Space) that stands here, 0 when it is none."""
    first = data[at]
    if 32 < first < 0xC2:
        return 0
    if first == 32 or 9 <= first <= 13 or 28 <= first <= 31:
        return 1
    if first < 32 or at + 1 >= end:
        return 0
    second = data[at + 1]
    if first == 0xC2:
        return 2 if second == 0x85 or second == 0xA0 else 0
    if at + 2 >= end:
        return 0
    third = data[at + 2]
    if first == 0xE2:
        if second == 0x80:
            return 3 if 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
        return 3 if second == 0x81 and third == 0x9F else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    return 3 if first == 0xE1 and second == 0x9A and third == 0x80 else 0


@numba.njit(cache=True, nogil=True)
def line_offsets(data: Bytes, offsets: Integers) -> Integers:
    """The lines of text i are `result[i]:result[i + 1]`, int64 [texts + 1]; n line feeds make n + 1 lines."""
    result = np.zeros(len(offsets), dtype=np.int64)
    for text in range(len(offsets) - 1):
        count = 1
        for at in range(offsets[text], offsets[text + 1]):
            count += data[at] == LINE_FEED
        result[text + 1] = result[text] + count
    return result


@numba.njit(cache=True, nogil=True)
def line_keys(data: Bytes, offsets: Integers, lines: Integers, scopes: Hashes, min_words: int) -> tuple[Hashes, Hashes]:
    """A hash of each line within the scope of its text (FNV-1a of its words with one space between them, mixed),
    uint64 [lines], 0 for lines of fewer than `min_words` words; and one of all words of each text, uint64 [texts].
    `lines` as `line_offsets` gives them."""
    keys = np.zeros(lines[-1], dtype=np.uint64)
    contents = np.zeros(len(offsets) - 1, dtype=np.uint64)
    for text in range(len(offsets) - 1):
        line, end = lines[text], offsets[text + 1]
        content = _FNV_OFFSET
        value, words, gap = _FNV_OFFSET, 0, True
        at = offsets[text]
        while at <= end:
            if at == end or data[at] == LINE_FEED:
                if words >= min_words:
                    keys[line] = max(mixed(value ^ scopes[text]), np.uint64(1))
                if words:
                    content = mixed(content ^ value) * _FNV_PRIME
                line += 1
                value, words, gap = _FNV_OFFSET, 0, True
                at += 1
                continue
            width = 0 if 32 < data[at] < 0xC2 else _space(data, at, end)  # a call costs more than all else here
            if width:
                gap = True
                at += width
                continue
            if gap:
                if words:
                    value = (value ^ np.uint64(32)) * _FNV_PRIME
                words += 1
                gap = False
            value = (value ^ np.uint64(data[at])) * _FNV_PRIME
            at += 1
        contents[text] = content
    return keys, contents


@numba.njit(cache=True, nogil=True)
def without_lines(
    data: Bytes, offsets: Integers, lines: Integers, cut: npt.NDArray[np.bool_]
) -> tuple[Bytes, Integers]:
    """The texts without the lines marked in `cut` (bool [lines]): bytes and offsets. Of the empty lines around a cut
    one stays, and a text that lost lines does not end with empty ones; other texts stay as they are."""
    out = np.empty(len(data), dtype=np.uint8)
    bounds = np.zeros(len(offsets), dtype=np.int64)
    size = 0
    for text in range(len(offsets) - 1):
        begin = size
        touched = False  # a line was cut since the last line that is not empty
        any_cut = False
        blank = True  # the line written last is empty, or there is none
        filled = size  # where the last line that is not empty ends
        at, end = offsets[text], offsets[text + 1]
        for line in range(lines[text], lines[text + 1]):
            start = at
            empty = True
            while at < end and data[at] != LINE_FEED:
                width = _space(data, at, end) if empty else 1
                if width == 0:
                    empty = False
                at += max(width, 1)
            stop = at
            at += 1
            if cut[line]:
                touched = any_cut = True
                continue
            if empty and blank and touched:
                continue
            if line > lines[text] and (size > begin or not any_cut):
                out[size] = LINE_FEED
                size += 1
            out[size : size + stop - start] = data[start:stop]
            size += stop - start
            blank = empty
            if not empty:
                filled = size
                touched = False
        if any_cut:
            size = filled
        bounds[text + 1] = size
    return out[:size].copy(), bounds
