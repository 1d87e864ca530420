"""Which n-grams of benchmark items occur in a text: hashes suggest matches, the words themselves confirm them.

All windows of words of a batch are hashed at once. A table over the leading bits of the items' hashes rejects most of
them with one look-up, a binary search most of the rest, and each remaining match is compared word by word, so that a
collision of hashes cannot remove a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.text.arrays import Flags, Hashes, Integers, offsets_of
from gptoss.text.normalize import Words, find_words
from gptoss.text.shingles import hash_windows

# Bits of the prefix table: 32 to 64 entries per key let at most 3 % of the other windows pass. Never below 1 KiB, where
# it costs nothing, nor above 128 MiB, which no cache holds.
_PREFIX_BITS_PER_KEY_COUNT = 5
_MIN_PREFIX_BITS, _MAX_PREFIX_BITS = 10, 27


class Match(NamedTuple):
    """An n-gram of benchmark items in a text."""

    text: int
    """Which text of the batch."""
    first_word: int
    """Counted from the start of the text."""
    size: int
    ngram: bytes
    """Its words, separated by spaces."""
    items: list[int]
    """The items that contain it, by number."""


@dataclass(frozen=True)
class NgramIndex:
    """The n-grams of one size, by hash.

    `keys` uint64 [distinct], sorted; `first_words` int64 [occurrences]: the word of the benchmark at which each n-gram
    begins, those of key k at `bounds[k]:bounds[k + 1]`; `prefixes` bool [2^bits]: whether a key begins with these bits.
    """

    size: int
    keys: Hashes
    first_words: Integers
    bounds: Integers
    prefixes: Flags

    @classmethod
    def build(cls, size: int, first_words: Integers, word_hashes: Hashes) -> NgramIndex:
        """Index the windows of `size` words that begin at `first_words`, given the hashes of all items' words."""
        windows = hash_windows(word_hashes, size)[first_words]
        keys, inverse = np.unique(windows, return_inverse=True)
        bits = min(_MAX_PREFIX_BITS, max(_MIN_PREFIX_BITS, len(keys).bit_length() + _PREFIX_BITS_PER_KEY_COUNT))
        prefixes = np.zeros(1 << bits, dtype=np.bool_)
        prefixes[keys >> np.uint64(64 - bits)] = True
        bounds = offsets_of(np.bincount(inverse, minlength=len(keys)))
        return cls(size, keys, first_words[np.argsort(inverse, kind="stable")], bounds, prefixes)

    def candidates(self, words: Words) -> Iterator[tuple[int, int, int]]:
        """(text, first word of the batch, key number) of each window within a text whose hash is a key."""
        if len(self.keys) == 0:
            return
        # Over the whole batch at once, windows across two texts included: excluding them later is cheaper than a loop.
        windows = hash_windows(words.hashes, self.size)
        shift = np.uint64(64 - (len(self.prefixes).bit_length() - 1))
        first = np.flatnonzero(self.prefixes[windows >> shift])
        key = np.minimum(np.searchsorted(self.keys, windows[first]), len(self.keys) - 1)
        text = np.searchsorted(words.offsets, first, side="right") - 1
        # A window that extends into the next text is not an n-gram of either.
        valid = (self.keys[key] == windows[first]) & (first + self.size <= words.offsets[text + 1])
        yield from zip(text[valid].tolist(), first[valid].tolist(), key[valid].tolist(), strict=True)


@dataclass(frozen=True)
class BenchmarkNgrams:
    """The evaluated items: `items` (suite, task and id of each), their words, an index per n-gram size of the items
    that are searched by it, and the number of `unchecked` items, which are shorter than the smallest size."""

    items: list[tuple[str, str, str]]
    words: Words
    indexes: list[NgramIndex]
    unchecked: int
    _items_by_ngram: dict[bytes, list[int]] = field(default_factory=dict)
    """A cache of `_items_with`: boilerplate of a task can be in thousands of items, and in as many documents."""

    def matches(self, texts: pa.Array) -> Iterator[Match]:
        """Every n-gram of an item that occurs in the texts (large_string)."""
        words = find_words(texts)
        for index in self.indexes:
            for text, first, key in index.candidates(words):
                ngram = words.ngram(first, first + index.size)
                if ngram not in self._items_by_ngram:
                    self._items_by_ngram[ngram] = self._items_with(ngram, index, key)
                if items := self._items_by_ngram[ngram]:
                    yield Match(text, first - int(words.offsets[text]), index.size, ngram, items)

    def _items_with(self, ngram: bytes, index: NgramIndex, key: int) -> list[int]:
        """The items that contain exactly these words, among those with the same hash."""
        firsts = index.first_words[index.bounds[key] : index.bounds[key + 1]]
        same = [first for first in firsts.tolist() if self.words.ngram(first, first + index.size) == ngram]
        return sorted({int(item) for item in np.searchsorted(self.words.offsets, same, side="right") - 1})

    def name(self, item: int) -> str:
        """An item as SUITE/TASK/ITEM."""
        return "/".join(self.items[item])


def load_benchmark(path: Path, sizes: Sequence[int]) -> BenchmarkNgrams:
    """Index the items in a table (`suite`, `task`, `item`, `text`), each by the largest size that it has words for:
    longer n-grams have fewer accidental matches, but would never match a shorter item."""
    table = pq.read_table(path, columns=["suite", "task", "item", "text"])
    items = list(zip(*(table.column(name).to_pylist() for name in ("suite", "task", "item")), strict=True))
    words = find_words(table.column("text").cast(pa.large_string()).combine_chunks())
    # From the largest size down, each item is taken by the first size that it has words for.
    indexes, unchecked = [], np.ones(len(items), dtype=np.bool_)
    for size in sorted(sizes, reverse=True):
        selected = unchecked & (words.counts >= size)
        unchecked &= ~selected
        spans = zip(words.offsets[:-1][selected].tolist(), words.offsets[1:][selected].tolist(), strict=True)
        first_words = [np.zeros(0, dtype=np.int64), *(np.arange(start, end - size + 1) for start, end in spans)]
        indexes.append(NgramIndex.build(size, np.concatenate(first_words), words.hashes))
    return BenchmarkNgrams(items, words, indexes, int(unchecked.sum()))
