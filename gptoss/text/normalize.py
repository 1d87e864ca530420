"""The one normaliser: lowercase, every run of non-word characters becomes one space.

A word character is a letter, mark or number of any script, or `_` (Unicode categories L*, M*, N*): what `\\w` means in
Unicode regular expressions. Everything that compares texts (exact and fuzzy duplicates, benchmark overlap) uses the
words found here. Scripts written without spaces come out as one word a clause, so for them n-grams of words are coarse.
Bytes that are not UTF-8 are no word characters.
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

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Points = npt.NDArray[np.int32]

NO_WORD = -1


@dataclass(frozen=True)
class Words:
    """The words of a batch of texts.

    `data` uint8 [bytes]: what `starts`, `ends` int64 [words] are places in, the normalised texts one after the other or
    (`lowercase=False`) the texts as they were given; `offsets` int64 [texts + 1]: the words of text i are
    `offsets[i]:offsets[i + 1]`; `hashes` uint64 [words]; `texts` and `bounds` int64 [texts + 1]: the normalised text i
    is `texts[bounds[i]:bounds[i + 1]]`, its words with one space between them.
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
        """Words in each text, int64 [texts]."""
        return np.diff(self.offsets)

    def joined(self, first: int, last: int) -> bytes:
        """Words `first:last` with one space between them."""
        spans = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return b" ".join(self.data[start:end].tobytes() for start, end in spans)

    def normalised(self) -> pa.Array:
        """The normalised texts, large_string [texts]."""
        buffers = pa.py_buffer(self.bounds), pa.py_buffer(self.texts)
        return pa.LargeStringArray.from_buffers(len(self.bounds) - 1, *buffers)


class Scratch:
    """Memory for the words of one batch, used again for those of the next. Fresh memory costs a page fault each 4 KB,
    and giving it back holds up the other threads of the process: a quarter of the time with two of them."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}

    def empty(self, name: str, length: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """`np.empty(length, dtype)`, valid until this name is asked for again."""
        held = self._held.get(name)
        if held is None or len(held) < length:
            held = self._held[name] = np.empty(length + length // 8, dtype=dtype)
        return held[:length]


def find_words(texts: pa.Array, *, lowercase: bool = True, scratch: Scratch | None = None) -> Words:
    """The words of each text (string or large_string [texts], no nulls). With `lowercase=False` the same words, as
    spans of the bytes as they were given. With `scratch` they are valid until the next call with it."""
    from gptoss.text import kernels

    data, bounds = utf8_bytes(texts.cast(pa.large_string()))
    most = len(data) // 2 + len(texts)  # a word takes a byte and what is between it and the next one another
    room = scratch or Scratch()
    starts, ends = (room.empty(name, most, np.int64) for name in ("starts", "ends"))
    hashes = room.empty("hashes", most, np.uint64)
    offsets, places = (np.empty(len(texts) + 1, dtype=np.int64) for _ in range(2))
    normal = room.empty("normal", _GROWTH * len(data) + 8, np.uint8)
    tables = bounds, word_table(lowercase), not lowercase
    count = kernels.scan(data, eights(data), *tables, normal, eights(normal), places, starts, ends, hashes, offsets)
    normal = normal[: places[-1]]
    spans = normal if lowercase else data
    return Words(spans, starts[:count], ends[:count], offsets, hashes[:count], normal, places)


def eights(data: Bytes) -> Hashes:
    """Every eight bytes as one little-endian number, at every position: overlapping, and not aligned."""
    return np.ndarray(max(0, len(data) - 7), dtype="<u8", buffer=data if len(data) > 7 else bytes(8), strides=(1,))


_GROWTH = 2
"""No character's lowercase takes more than twice its bytes (a test looks at all of them)."""


def utf8_bytes(texts: pa.Array) -> tuple[Bytes, Integers]:
    """The bytes of a large_string array and where each text begins and ends in them, int64 [texts + 1]."""
    if len(texts) == 0:
        return np.zeros(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if data is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    return np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def word_hashes(words: Words) -> Hashes:
    """A 64-bit hash of each word, uint64 [words]: eight bytes at a time, each mixed in by `mix`. The same word has the
    same hash in every batch and on every machine."""
    return words.hashes


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser (Steele et al. 2014) on each value: a bijection of 64 bits; every input bit reaches every
    output bit."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_ONE_AT_A_TIME = Lock()


def word_table(lowercase: bool) -> Points:
    """The same as `_word_table`, computed once for all threads: the second waits, instead of slowing the first."""
    with _ONE_AT_A_TIME:
        return _word_table(lowercase)


@cache
def _word_table(lowercase: bool) -> Points:
    """What each code point is written as, int32 [0x110000]: itself or its simple lowercase; `NO_WORD` where it is no
    word character. All from Python's Unicode tables: a letter is a word character when its lowercase is."""
    table = np.full(0x110000, NO_WORD, dtype=np.int32)
    for plane in _PLANES:
        points = np.arange(plane << 16, (plane + 1) << 16, dtype=np.int32)
        points = points[(points < 0xD800) | (points >= 0xE000)]
        text = points.astype("<u4").tobytes().decode("utf-32-le")
        categories = np.frombuffer("".join(map(unicodedata.category, text)).encode(), dtype="S2").astype("S1")
        word = np.isin(categories, (b"L", b"M", b"N")) | (points == ord("_"))
        lower = np.frombuffer(text.replace("\u0130", "i").lower().encode("utf-32-le"), dtype="<i4")
        table[points[word]] = (lower if lowercase else points)[word]
    return table


_PLANES = (0, 1, 2, 3, 14)
"""The others are empty or for private use (a test looks at all code points)."""
