"""Which keys occur in more than one part, and where first: a join of all parts by key in bounded memory.

Each part writes its distinct keys in ascending order. A range of keys is then a slice of each file, so one task
compares one range over all parts, and writes one answer per key in the order of the part: what a part reads back lines
up with its keys. Only the keys of one part or of one range are ever sorted, and a key in millions of places is one row
per part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptoss.core.atomic_files import atomic_file
from gptoss.executor.tasks import Result, run_tasks
from gptoss.text.arrays import Flags, Hashes, Integers, offsets_of

# Keys that one task compares, on average: about 100 bytes of memory each.
KEYS_PER_RANGE = 8_000_000
# Instead of a part: the key occurs in this part only.
UNSHARED = -1
_ROW_BYTES = 16  # of a key and its first word, to estimate the work of a task


@dataclass(frozen=True)
class PartKeys:
    """The keys of a part and where they occur in it.

    `keys` uint64 [halves, distinct]: the distinct keys in ascending order, most significant half first; `key` int64
    [occurrences]: the column in `keys` of each occurrence; `words` int64 [occurrences], ascending: its word, counted
    from the start of the part.
    """

    keys: Hashes
    key: Integers
    words: Integers

    # 128-bit keys are two rows, as NumPy has no such integers; the order compares the first row, then the second.

    @classmethod
    def from_occurrences(cls, keys: Hashes, words: Integers) -> PartKeys:
        """Build from the key of each occurrence, uint64 [halves, occurrences], in the order of their `words`."""
        order = _sort_order(keys)
        starts = _run_starts(keys[:, order])
        key = np.empty(len(order), dtype=np.int64)
        key[order] = np.cumsum(starts) - 1
        return cls(keys[:, order[starts]], key, words)

    @property
    def first_words(self) -> Integers:
        """The word of the first occurrence of each key, int64 [distinct]."""
        first_words = np.empty(self.keys.shape[1], dtype=np.int64)
        # Assignment with repeated indices keeps the last value: in reverse order, the first occurrence.
        first_words[self.key[::-1]] = self.words[::-1]
        return first_words

    @property
    def counts(self) -> Integers:
        """How often each key occurs, int64 [distinct]."""
        return np.bincount(self.key, minlength=self.keys.shape[1])

    def write(self, folder: Path, part: int) -> None:
        """Store the keys of part number `part`."""
        arrays = {"keys": self.keys, "first_words": self.first_words, "key": self.key, "words": self.words}
        for name, array in arrays.items():
            save_integers(_file(folder, name, part), array)

    @classmethod
    def read(cls, folder: Path, part: int) -> PartKeys:
        """What `write` stored."""
        keys, key, words = (np.load(_file(folder, name, part)) for name in ("keys", "key", "words"))
        return cls(keys.astype(np.uint64), key.astype(np.int64), words.astype(np.int64))


@dataclass(frozen=True)
class FirstOccurrences:
    """Where the keys of a part occur first in the corpus.

    `parts` int64 [distinct]: the first part with this key, `UNSHARED` if no other part has it; `words` int64
    [distinct]: the word of the key's first occurrence in that part.
    """

    parts: Integers
    words: Integers

    @classmethod
    def read(cls, folder: Path, part: int, ranges: int) -> FirstOccurrences:
        """The results of all ranges for one part."""
        slices = [np.zeros((2, 0), dtype=np.int64)]
        for number in range(ranges):
            # Mapped: a part needs a slice of each of these files, which hold the keys of all parts.
            start, end = np.load(_file(folder, "bounds", number), mmap_mode="r")[part : part + 2].tolist()
            slices.append(np.load(_file(folder, "first_occurrences", number), mmap_mode="r")[:, start:end])
        return cls(*np.concatenate(slices, axis=1, dtype=np.int64))


def compare_parts(folder: Path, parts: int, keys: int, state: Path) -> int:
    """Compare the keys of all parts in `folder` (`keys` in total); returns the number of ranges."""
    ranges = -(-keys // KEYS_PER_RANGE) or 1
    tasks: list[dict[str, Any]] = [
        {"folder": str(folder), "parts": parts, "number": number, "ranges": ranges} for number in range(ranges)
    ]
    name = f"dedup_compare_{folder.name}"
    run_tasks(name, compare_range, tasks, state, input_bytes=_ROW_BYTES * keys, releases_gil=True)
    return ranges


def compare_range(folder: str, parts: int, number: int, ranges: int) -> Result:
    """Task: find the first occurrence of every key in range `number` of `ranges` equal ranges."""
    keys, words, counts = [], [], []
    for part in range(parts):
        mapped = np.load(_file(Path(folder), "keys", part), mmap_mode="r")
        start, end = (_keys_below(mapped[0], number + side, ranges) for side in (0, 1))
        keys.append(mapped[:, start:end].astype(np.uint64))
        words.append(np.load(_file(Path(folder), "first_words", part), mmap_mode="r")[start:end].astype(np.int64))
        counts.append(end - start)
    # Rows in the order of parts, which with a stable sort makes the first row of each key its first occurrence.
    part_of_key = np.repeat(np.arange(parts), counts)
    first = first_occurrences(np.concatenate(keys, axis=1), part_of_key, np.concatenate(words))
    save_integers(_file(Path(folder), "first_occurrences", number), first)
    save_integers(_file(Path(folder), "bounds", number), offsets_of(counts))
    return {"keys": sum(counts), "shared": int(np.count_nonzero(first[0] != UNSHARED))}


def first_occurrences(keys: Hashes, parts: Integers, words: Integers) -> Integers:
    """Part (or `UNSHARED`) and word of the first row with the same key, int64 [2, rows]; rows are in order of parts."""
    order = _sort_order(keys)
    starts = _run_starts(keys[:, order])
    group = np.cumsum(starts) - 1
    first = order[starts]
    result = np.empty((2, len(order)), dtype=np.int64)
    result[0, order] = np.where(np.bincount(group)[group] > 1, parts[first][group], UNSHARED)
    result[1, order] = words[first][group]
    return result


def _sort_order(keys: Hashes) -> Integers:
    """Stable order of keys uint64 [halves, keys], int64 [keys]."""
    # Sorting by the first half is several times as fast as lexsort, and wrong only after a collision of 64 bits.
    order = np.argsort(keys[0], kind="stable")
    tied = np.diff(keys[0, order]) == 0
    if len(keys) > 1 and (keys[1, order[1:]] != keys[1, order[:-1]])[tied].any():
        order = np.lexsort(keys[::-1])
    return order


def _run_starts(ordered: Hashes) -> Flags:
    """Whether each key differs from the one before it, bool [keys]."""
    starts = np.ones(ordered.shape[1], dtype=np.bool_)
    starts[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return starts


def _keys_below(ordered: Hashes, number: int, ranges: int) -> int:
    """How many keys are below the start of a range."""
    # The start of the range after the last would be 2^64, which no uint64 holds.
    return len(ordered) if number == ranges else int(np.searchsorted(ordered, np.uint64((number << 64) // ranges)))


def _file(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number:05d}.npy"


def save_integers(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array atomically, with the narrowest integer type that holds its values: word numbers of a part take
    four bytes, which halves these files."""
    least, most = int(array.min(initial=0)), int(array.max(initial=0))
    array = array.astype(np.promote_types(np.min_scalar_type(least), np.min_scalar_type(most)))
    with atomic_file(path) as partial, open(partial, "wb") as stream:
        np.save(stream, array)
