"""Which n-grams of benchmark items occur in a text: hashes suggest, the words themselves decide.

Windows of words are hashed for a whole batch at once; a sieve over the leading bits of the items' hashes settles most
look-ups in one step, a binary search the rest, and each match left is confirmed on the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.errors import DataError
from gptoss.text.normalize import Hashes, Integers, Words, find_words, word_hashes
from gptoss.text.shingles import window_hashes


@dataclass(frozen=True)
class Grams:
    """The n-grams of one size. `keys` uint64 [distinct], sorted; `firsts` int64 [occurrences], the word each begins
    at, and those of key k are `firsts[bounds[k]:bounds[k + 1]]`; `sieve` bool [2^bits]: whether some key starts with
    these bits, which settles most look-ups in one step."""

    size: int
    keys: Hashes
    firsts: Integers
    bounds: Integers
    sieve: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, size: int, firsts: Integers, hashes: Hashes) -> Grams:
        """Index the windows of `size` words that begin at `firsts`, given the hashes of all items' words."""
        windows = window_hashes(hashes, size)[firsts]
        keys, inverse = np.unique(windows, return_inverse=True)
        bits = min(27, max(10, len(keys).bit_length() + 5))
        sieve = np.zeros(1 << bits, dtype=np.bool_)
        sieve[keys >> np.uint64(64 - bits)] = True
        bounds = np.append(0, np.cumsum(np.bincount(inverse, minlength=len(keys))))
        return cls(size, keys, firsts[np.argsort(inverse, kind="stable")], bounds, sieve)

    def suspects(self, hashes: Hashes, words: Words) -> Iterator[tuple[int, int, int]]:
        """(text, first word, key) of each window in the texts whose hash is a key."""
        if len(self.keys) == 0:
            return
        windows = window_hashes(hashes, self.size)
        shift = np.uint64(64 - (len(self.sieve).bit_length() - 1))
        first = np.flatnonzero(self.sieve[windows >> shift])
        key = np.minimum(np.searchsorted(self.keys, windows[first]), len(self.keys) - 1)
        text = np.searchsorted(words.offsets, first, side="right") - 1
        real = (self.keys[key] == windows[first]) & (first + self.size <= words.offsets[text + 1])
        yield from zip(text[real].tolist(), first[real].tolist(), key[real].tolist(), strict=True)


@dataclass(frozen=True)
class Benchmark:
    """The evaluated items, their words, and for each size the n-grams of the items that are found by it."""

    items: list[tuple[str, str, str]]
    """Suite, task and id of each item."""
    words: Words
    grams: list[Grams]
    unchecked: int
    """Items shorter than the smallest size."""
    known: dict[bytes, list[int]] = field(default_factory=dict)
    """Items of the n-grams found so far: one that is in thousands of items is looked up once."""

    def matches(self, texts: pa.Array) -> Iterator[tuple[int, int, int, bytes, list[int]]]:
        """(text, first word, size, n-gram, items) of every n-gram of an item that occurs in the texts."""
        words = find_words(texts)
        hashes = word_hashes(words)
        for grams in self.grams:
            for text, first, key in grams.suspects(hashes, words):
                gram = words.joined(first, first + grams.size)
                if gram not in self.known:
                    self.known[gram] = self._holding(gram, grams, key)
                if items := self.known[gram]:
                    yield text, first - int(words.offsets[text]), grams.size, gram, items

    def _holding(self, gram: bytes, grams: Grams, key: int) -> list[int]:
        """Items that hold exactly these words, among those whose hash is the same."""
        firsts = grams.firsts[grams.bounds[key] : grams.bounds[key + 1]]
        same = [first for first in firsts.tolist() if self.words.joined(first, first + grams.size) == gram]
        return sorted({int(item) for item in np.searchsorted(self.words.offsets, same, side="right") - 1})

    def name(self, item: int) -> str:
        """An item as SUITE/TASK/ITEM."""
        return "/".join(self.items[item])


def load_benchmark(path: Path, sizes: Sequence[int]) -> Benchmark:
    """Index the items: each by the largest size that it has words for."""
    if not path.exists():
        raise DataError(f"{path} does not exist", "run `dvc repro benchmarks`, which makes it")
    table = pq.read_table(path, columns=["suite", "task", "item", "text"]).combine_chunks()
    items = list(zip(*(table.column(name).to_pylist() for name in ("suite", "task", "item")), strict=True))
    words = find_words(
        pa.concat_arrays([pa.array([], pa.large_string()), *table.column("text").cast(pa.large_string()).chunks])
    )
    hashes = word_hashes(words)
    grams, left = [], np.ones(len(items), dtype=np.bool_)
    for size in sorted(sizes, reverse=True):
        chosen = left & (words.counts >= size)
        left &= ~chosen
        spans = zip(words.offsets[:-1][chosen].tolist(), words.offsets[1:][chosen].tolist(), strict=True)
        firsts = [np.arange(start, end - size + 1) for start, end in spans]
        grams.append(Grams.of(size, np.concatenate(firsts) if firsts else np.zeros(0, dtype=np.int64), hashes))
    return Benchmark(items, words, grams, int(left.sum()))
