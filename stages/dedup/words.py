"""The one normaliser: lowercase, every run of non-word characters becomes one space.

A word character is a letter, mark or number of any script, or `_` (Unicode categories L*, M*, N*): what `\\w` means in
Unicode regular expressions. Everything that compares texts (exact and fuzzy duplicates, benchmark overlap) uses the
words found here. Scripts written without spaces come out as one word a clause, so for them n-grams of words are coarse.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_WORD_BYTES = 8
_PADDING = np.zeros(_WORD_BYTES, dtype=np.uint8)


@dataclass(frozen=True)
class Words:
    """The words of a batch of texts, as spans of its UTF-8 bytes.

    `data` uint8 [bytes + 8 of padding]; `starts`, `ends` int64 [words]; `offsets` int64 [texts + 1]: the words of
    text i are `offsets[i]:offsets[i + 1]`.
    """

    data: Bytes
    starts: Integers
    ends: Integers
    offsets: Integers

    @property
    def counts(self) -> Integers:
        """Words in each text, int64 [texts]."""
        return np.diff(self.offsets)

    def joined(self, first: int, last: int) -> bytes:
        """Words `first:last` with one space between them."""
        spans = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return b" ".join(self.data[start:end].tobytes() for start, end in spans)

    def normalised(self) -> pa.Array:
        """The normalised texts, large_string [texts]: the words of each with one space between them."""
        lengths = self.ends - self.starts
        # One space after each word; the one after the last word of a text is trimmed off below.
        bounds = np.concatenate(([0], np.cumsum(lengths + 1))).astype(np.int64)
        data = np.full(bounds[-1], ord(" "), dtype=np.uint8)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        data[np.repeat(bounds[:-1], lengths) + within] = self.data[np.repeat(self.starts, lengths) + within]
        spaced = pa.LargeStringArray.from_buffers(
            len(self.offsets) - 1, pa.py_buffer(bounds[self.offsets]), pa.py_buffer(data)
        )
        return pc.utf8_rtrim(spaced, " ")


def find_words(texts: pa.Array, *, lowercase: bool = True) -> Words:
    """The words of each text (string or large_string [texts], no nulls). With `lowercase=False` the same words, as
    spans of the bytes as they were given."""
    texts = texts.cast(pa.large_string())
    if lowercase:
        texts = pc.utf8_lower(texts)
    data, boundaries = utf8_bytes(texts)
    word = _is_word(data)
    before = np.concatenate(([False], word[:-1]))
    before[boundaries[:-1][boundaries[:-1] < len(data)]] = False
    after = np.concatenate((word[1:], [False]))
    after[boundaries[1:][boundaries[1:] > 0] - 1] = False
    starts = np.flatnonzero(word & ~before)
    ends = np.flatnonzero(word & ~after) + 1
    return Words(np.concatenate((data, _PADDING)), starts, ends, np.searchsorted(starts, boundaries))


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
    """A 64-bit hash of each word, uint64 [words]: eight bytes at a time, each mixed in by the finaliser of
    SplitMix64 (Steele et al. 2014). The same word has the same hash in every batch and on every machine."""
    lengths = words.ends - words.starts
    hashes = mix(lengths.astype(np.uint64))
    # Every 8 bytes of the buffer as one little-endian number, at every position: gathering words becomes indexing.
    view = np.ndarray(len(words.data) - _WORD_BYTES + 1, dtype="<u8", buffer=words.data, strides=(1,))
    rest = np.arange(len(lengths))
    position = 0
    while len(rest):
        left = lengths[rest] - position
        chunk = view[words.starts[rest] + position] & _MASKS[np.minimum(left, _WORD_BYTES)]
        hashes[rest] = mix(hashes[rest] ^ chunk)
        rest = rest[left > _WORD_BYTES]
        position += _WORD_BYTES
    return hashes


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser on each value: a bijection of 64 bits; every input bit reaches every output bit."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


_MASKS = np.array([(1 << (8 * kept)) - 1 for kept in range(_WORD_BYTES + 1)], dtype=np.uint64)


def _is_word(data: Bytes) -> npt.NDArray[np.bool_]:
    """Whether each byte belongs to a word character, bool [bytes]."""
    word = _ASCII[data]
    leads = np.flatnonzero(data >= 0xC0)
    if len(leads):
        first = data[leads].astype(np.int32)
        length = 2 + (first >= 0xE0).astype(np.int64) + (first >= 0xF0)
        points = first & (0xFF >> (length + 1)).astype(np.int32)
        for offset in (1, 2, 3):
            has = length > offset
            points[has] = points[has] << 6 | data[leads[has] + offset] & 0x3F
        letters = leads[_unicode()[points]]
        length = length[_unicode()[points]]
        for offset in range(4):
            word[letters[length > offset] + offset] = True
    return word


_ASCII = np.array([byte < 128 and (chr(byte).isalnum() or byte == ord("_")) for byte in range(256)])


@cache
def _unicode() -> npt.NDArray[np.bool_]:
    """Whether each code point is a word character, bool [0x110000]. Arrow may know letters that Python does not know
    yet; such a letter counts when its lowercase does, so that lowercasing never moves the boundary of a word."""
    word = np.zeros(0x110000, dtype=np.bool_)
    for plane in (0, 1, 2, 3, 14):  # the others hold no letters, marks or numbers
        first = plane << 16
        points = [chr(first | low) if plane or not 0xD800 <= low < 0xE000 else "\0" for low in range(0x10000)]
        word[first : first + 0x10000] = [unicodedata.category(point)[0] in "LMN" for point in points]
        lowered = pc.utf8_lower(pa.array(points, pa.large_string())).to_pylist()
        for point, lower in zip(points, lowered, strict=True):
            if point != lower:
                word[ord(point)] |= unicodedata.category(lower)[0] in "LMN"
    return word
