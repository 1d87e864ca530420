"""Which keys occur in more than one part, and where first: a join of all parts by key in bounded memory.

Every part writes its distinct keys in order. A range of keys is then a slice of each file, so one task compares one
range over all parts and writes an answer for each key in the order of its part: what a part reads back lines up with
its keys. Nothing is sorted but the keys of one part or of one range, and a key in millions of places is one row a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptoss.config.cluster import ClusterConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.executor.tasks import Result, run_tasks
from gptoss.text.normalize import Hashes, Integers

KEYS_PER_RANGE = 8_000_000
"""Keys compared by one task, on average: about 100 bytes of memory each."""
ROW_BYTES = 16
"""Of a key with its first word."""

NOBODY = -1
"""Owner of a key that one part alone holds."""


@dataclass(frozen=True)
class Occurrences:
    """Where the keys of a part stand in it. `keys` uint64 [halves, distinct], in order, the first half first; `key`
    int64 [occurrences], the column of each; `words` int64 [occurrences], ascending: its word, counted from the start
    of the part."""

    keys: Hashes
    key: Integers
    words: Integers

    @classmethod
    def of(cls, halves: Hashes, words: Integers) -> Occurrences:
        """Index keys uint64 [halves, occurrences], given in the order of their `words`."""
        order = _order(halves)
        starts = _starts(halves[:, order])
        key = np.empty(len(order), dtype=np.int64)
        key[order] = np.cumsum(starts) - 1
        return cls(halves[:, order[starts]], key, words)

    @property
    def firsts(self) -> Integers:
        """The word of the first occurrence of each key, int64 [distinct]."""
        firsts = np.empty(self.keys.shape[1], dtype=np.int64)
        firsts[self.key[::-1]] = self.words[::-1]
        return firsts

    @property
    def counts(self) -> Integers:
        """How often each key occurs, int64 [distinct]."""
        return np.bincount(self.key, minlength=self.keys.shape[1])

    def write(self, folder: Path, part: int) -> None:
        """Keep what is known of a part."""
        for name, array in (("keys", self.keys), ("firsts", self.firsts), ("key", self.key), ("words", self.words)):
            save(_file(folder, name, part), array)

    @classmethod
    def read(cls, folder: Path, part: int) -> Occurrences:
        """What was written of a part."""
        keys, key, words = (np.load(_file(folder, name, part)) for name in ("keys", "key", "words"))
        return cls(keys.astype(np.uint64), key.astype(np.int64), words.astype(np.int64))


@dataclass(frozen=True)
class Owners:
    """The answer to a part. `parts` int64 [distinct]: the first part that holds each key, `NOBODY` when this part alone
    does; `words` int64 [distinct]: the word of the key's first occurrence in that part."""

    parts: Integers
    words: Integers

    @classmethod
    def read(cls, folder: Path, part: int, ranges: int) -> Owners:
        """Put the answers from all ranges together."""
        slices = [np.zeros((2, 0), dtype=np.int64)]
        for number in range(ranges):
            start, end = np.load(_file(folder, "bounds", number), mmap_mode="r")[part : part + 2].tolist()
            slices.append(np.load(_file(folder, "owners", number), mmap_mode="r")[:, start:end])
        return cls(*np.concatenate(slices, axis=1, dtype=np.int64))


def compare_all(folder: Path, parts: int, keys: int, state: Path, cluster: ClusterConfig | None) -> int:
    """Compare the keys of all parts in `folder`, `keys` in all; returns the number of ranges."""
    ranges = -(-keys // KEYS_PER_RANGE) or 1
    tasks: list[dict[str, Any]] = [
        {"folder": str(folder), "parts": parts, "number": number, "ranges": ranges} for number in range(ranges)
    ]
    run_tasks(
        f"dedup_compare_{folder.name}", compare, tasks, state, cluster=cluster, input_bytes=ROW_BYTES * keys, releases_gil=True
    )
    return ranges


def compare(folder: str, parts: int, number: int, ranges: int) -> Result:
    """Task: find the owner of every key in one of `ranges` equal ranges."""
    keys, words, bounds = [], [], [0]
    for part in range(parts):
        mapped = np.load(_file(Path(folder), "keys", part), mmap_mode="r")
        start, end = (_below(mapped[0], number + side, ranges) for side in (0, 1))
        keys.append(mapped[:, start:end].astype(np.uint64))
        words.append(np.load(_file(Path(folder), "firsts", part), mmap_mode="r")[start:end].astype(np.int64))
        bounds.append(bounds[-1] + end - start)
    held_by = np.repeat(np.arange(parts), np.diff(bounds))
    owners = owners_of(np.concatenate(keys, axis=1), held_by, np.concatenate(words))
    save(_file(Path(folder), "owners", number), owners)
    save(_file(Path(folder), "bounds", number), np.array(bounds))
    return {"keys": bounds[-1], "shared": int(np.count_nonzero(owners[0] != NOBODY))}


def owners_of(keys: Hashes, parts: Integers, words: Integers) -> Integers:
    """Part and word of the first row with the same key, int64 [2, rows], of rows in the order of their parts."""
    order = _order(keys)
    starts = _starts(keys[:, order])
    group = np.cumsum(starts) - 1
    first = order[starts]
    owners = np.empty((2, len(order)), dtype=np.int64)
    owners[0, order] = np.where(np.bincount(group)[group] > 1, parts[first][group], NOBODY)
    owners[1, order] = words[first][group]
    return owners


def _order(keys: Hashes) -> Integers:
    """The places of the keys in ascending order, int64 [keys]; equal ones stay in the order in which they come."""
    order = np.argsort(keys[0], kind="stable")
    tied = np.diff(keys[0, order]) == 0
    if len(keys) > 1 and (keys[1, order[1:]] != keys[1, order[:-1]])[tied].any():  # a collision of 64 bits: hardly ever
        order = np.lexsort(keys[::-1])
    return order


def _starts(ordered: Hashes) -> npt.NDArray[np.bool_]:
    """Whether each key differs from the one before it, bool [keys]."""
    starts = np.ones(ordered.shape[1], dtype=np.bool_)
    starts[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return starts


def _below(ordered: Hashes, number: int, ranges: int) -> int:
    """How many keys lie below the start of a range."""
    return len(ordered) if number == ranges else int(np.searchsorted(ordered, np.uint64((number << 64) // ranges)))


def _file(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number:05d}.npy"


def save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array atomically, integers as the narrowest type that holds them."""
    least, most = int(array.min(initial=0)), int(array.max(initial=0))
    array = array.astype(np.promote_types(np.min_scalar_type(least), np.min_scalar_type(most)))
    with atomic_file(path) as partial, open(partial, "wb") as stream:
        np.save(stream, array)
