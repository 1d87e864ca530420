"""The one normaliser: lowercase, every run of non-word characters becomes one space.

A word character is a letter, mark or number of any script, or `_` (Unicode categories L*, M*, N*): what `\\w` means in
Unicode regular expressions. Everything that compares texts (exact and fuzzy duplicates, benchmark overlap) uses the
words found here. Scripts written without spaces come out as one word a clause, so for them n-grams of words are coarse.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

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

    `data` uint8 [bytes + 8 of padding] and `inside` bool [the same], whether a byte is part of a word; `starts`, `ends`
    int64 [words]; `offsets` int64 [texts + 1]: the words of text i are `offsets[i]:offsets[i + 1]`.
    """

    data: Bytes
    inside: npt.NDArray[np.bool_]
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
        data = np.where(self.inside, self.data, np.uint8(ord(" ")))
        kept = self.inside.copy()
        # Of the characters between two words of a text, the first byte stays as their space.
        followed = np.ones(len(self.ends), dtype=np.bool_)
        followed[self.offsets[1:][self.counts > 0] - 1] = False
        kept[self.ends[followed]] = True
        lengths = np.concatenate(([0], np.cumsum(self.ends - self.starts + followed)))
        bounds = lengths[self.offsets].astype(np.int64)
        return pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data[kept]))


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
    inside = np.concatenate((word, _PADDING.astype(np.bool_)))
    return Words(np.concatenate((data, _PADDING)), inside, starts, ends, np.searchsorted(starts, boundaries))


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
    # Every 8 bytes of the buffer as one little-endian number, at every position: gathering words becomes indexing.
    view = np.ndarray(len(words.data) - _WORD_BYTES + 1, dtype="<u8", buffer=words.data, strides=(1,))
    hashes = mix(view[words.starts] & _MASKS[np.minimum(lengths, _WORD_BYTES)])
    position = _WORD_BYTES
    while len(longer := np.flatnonzero(lengths > position)):
        chunk = view[words.starts[longer] + position] & _MASKS[np.minimum(lengths[longer] - position, _WORD_BYTES)]
        hashes[longer] = mix(hashes[longer] ^ chunk)
        position += _WORD_BYTES
    return hashes


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser on each value: a bijection of 64 bits; every input bit reaches every output bit."""
    mixed = np.empty_like(values)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK] + np.uint64(0x9E3779B97F4A7C15)
        block ^= block >> np.uint64(30)
        block *= np.uint64(0xBF58476D1CE4E5B9)
        block ^= block >> np.uint64(27)
        block *= np.uint64(0x94D049BB133111EB)
        block ^= block >> np.uint64(31)
        mixed[start : start + _BLOCK] = block
    return mixed


_BLOCK = 1 << 14
"""Values mixed at a time: they stay in the processor's cache."""
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
        found = _are_word_characters(points)
        letters, length = leads[found], length[found]
        for offset in range(4):
            word[letters[length > offset] + offset] = True
    return word


_ASCII = np.array([byte < 128 and (chr(byte).isalnum() or byte == ord("_")) for byte in range(256)])


_KNOWN = np.full(0x110000, -1, dtype=np.int8)
"""Code points met so far: 1 for a word character, 0 for another, -1 for one not met yet."""


def _are_word_characters(points: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Whether each code point is a word character. Arrow may know letters that Python does not know yet; such a
    letter counts when its lowercase does, so that lowercasing never moves the boundary of a word."""
    new = np.unique(points[_KNOWN[points] < 0])
    if len(new):
        characters = [chr(point) for point in new.tolist()]
        lowered = pc.utf8_lower(pa.array(characters, pa.large_string())).to_pylist()
        forms = zip(characters, lowered, strict=True)
        _KNOWN[new] = [any(unicodedata.category(form)[0] in "LMN" for form in pair) for pair in forms]
    return np.asarray(_KNOWN[points] == 1)
