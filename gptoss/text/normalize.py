"""The one text normaliser: lowercase, and every run of non-word characters becomes one space.

A word character is a letter, mark or number of any script, or `_` (Unicode categories L*, M*, N*): the meaning of `\\w`
in Unicode regular expressions. Everything that compares texts (exact duplicates, near duplicates, repeated passages,
benchmark overlap) uses the words found here. Scripts that are written without spaces yield one word per clause, so for
them word n-grams are coarse. Bytes that are not UTF-8 are not word characters.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gptoss.text.arrays import Bytes, CodePoints, Hashes, Integers, uint64_at_every_byte, utf8_bytes

NO_WORD = -1
# No character's lowercase takes more than twice its UTF-8 bytes (a test checks every character).
_MAX_GROWTH = 2
# Planes with assigned characters. The others are empty or for private use (a test checks all code points).
_PLANES = (0, 1, 2, 3, 14)


@dataclass(frozen=True)
class Words:
    """The words of a batch of texts.

    - `starts`, `ends` int64 [words]: positions of each word in `data` uint8 [bytes], which holds the normalised texts
      one after the other or, with `lowercase=False`, the texts as they were given;
    - `offsets` int64 [texts + 1]: the words of text i are `offsets[i]:offsets[i + 1]`;
    - `hashes` uint64 [words]: equal for equal words, in every batch and on every machine;
    - `texts` uint8 and `bounds` int64 [texts + 1]: the normalised text i is `texts[bounds[i]:bounds[i + 1]]`, its words
      separated by single spaces.
    """

    data: Bytes
    starts: Integers
    ends: Integers
    offsets: Integers
    hashes: Hashes
    texts: Bytes
    bounds: Integers

    @property
    def counts(self) -> Integers:
        """Words per text, int64 [texts]."""
        return np.diff(self.offsets)

    def ngram(self, first: int, last: int) -> bytes:
        """Words `first:last`, separated by single spaces."""
        spans = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return b" ".join(self.data[start:end].tobytes() for start, end in spans)


class ScratchBuffers:
    """Memory for the words of one batch that is reused for the next.

    Fresh memory costs a page fault per 4 KB, and freeing it blocks the other threads of the process (the kernel locks
    the address space): with two threads a quarter of the time.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[Any]] = {}

    def empty(self, name: str, length: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """`np.empty(length, dtype)`, valid until the next call with this name."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < length:
            # An eighth more than needed, as batches vary in size.
            buffer = self._buffers[name] = np.empty(length + length // 8, dtype=dtype)
        return buffer[:length]


def find_words(texts: pa.Array, *, lowercase: bool = True, scratch: ScratchBuffers | None = None) -> Words:
    """The words of each text (string or large_string [texts], no nulls).

    With `lowercase=False` the same words, as spans of the original bytes. With `scratch` the result is valid until the
    next call with the same buffers.
    """
    from gptoss.text.kernels.words import scan_words

    data, bounds = utf8_bytes(texts.cast(pa.large_string()))
    max_words = len(data) // 2 + len(texts)  # a word takes at least one byte, and another to separate it from the next
    buffers = scratch or ScratchBuffers()
    starts, ends = (buffers.empty(name, max_words, np.int64) for name in ("starts", "ends"))
    hashes = buffers.empty("hashes", max_words, np.uint64)
    offsets, out_bounds = (np.empty(len(texts) + 1, dtype=np.int64) for _ in range(2))
    # Eight more bytes, as the kernel writes eight at a time.
    out = buffers.empty("texts", _MAX_GROWTH * len(data) + 8, np.uint8)
    count = scan_words(
        data, uint64_at_every_byte(data), bounds, character_map(lowercase), not lowercase,
        out, uint64_at_every_byte(out), out_bounds, starts, ends, hashes, offsets,
    )  # fmt: skip
    normalised = out[: out_bounds[-1]]
    span_data = normalised if lowercase else data
    return Words(span_data, starts[:count], ends[:count], offsets, hashes[:count], normalised, out_bounds)


_MAP_LOCK = Lock()


def character_map(lowercase: bool) -> CodePoints:
    """What each code point is written as, int32 [0x110000]; `NO_WORD` for characters that are not word characters."""
    # `functools.cache` lets two threads compute the same value at once, each slowed down by the other.
    with _MAP_LOCK:
        return _character_map(lowercase)


@cache
def _character_map(lowercase: bool) -> CodePoints:
    """Built from Python's Unicode tables as vectors, per plane: 1.1 million calls of `str.lower` take a second."""
    table = np.full(0x110000, NO_WORD, dtype=np.int32)
    for plane in _PLANES:
        points = np.arange(plane << 16, (plane + 1) << 16, dtype=np.int32)
        points = points[(points < 0xD800) | (points >= 0xE000)]  # surrogates cannot be decoded
        text = points.astype("<u4").tobytes().decode("utf-32-le")
        categories = np.frombuffer("".join(map(unicodedata.category, text)).encode(), dtype="S2").astype("S1")
        word = np.isin(categories, (b"L", b"M", b"N")) | (points == ord("_"))
        # U+0130 is the one character whose full lowercase has two characters ("i" and a combining dot), which would
        # shift all that follow.
        lower = np.frombuffer(text.replace("\u0130", "i").lower().encode("utf-32-le"), dtype="<i4")
        table[points[word]] = (lower if lowercase else points)[word]
    return table
