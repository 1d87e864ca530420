"""Shingle sets of documents, kept in files: what pairs are verified with.

A file about n documents starts with n + 1 offsets (little-endian uint64), counted in hashes, and continues with the
sorted distinct hashes of document after document; a document that needs no set has an empty one. Files are read piece
by piece with `pread`: mapped pages would count as memory of the process.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.corpus import Corpus
from gptoss.executor.tasks import Result
from gptoss.tables.batches import part_batches
from gptoss.text.normalize import Hashes, Integers, Scratch, find_words
from gptoss.text.shingles import shingle

MAX_OPEN_FILES = 256
PAGE = 512
"""Of fewer documents than one in so many (offsets in a page of memory), the offsets are read one by one."""


def write_sets(part: str, ngram: int, first: int, count: int, wanted: str, target: str) -> Result:
    """A task: the sets of those documents of a part that the file `wanted` (uint8 [all documents]) marks."""
    chosen = np.fromfile(wanted, dtype=np.bool_, count=count, offset=first)
    sizes = np.zeros(count, dtype=np.int64)
    with atomic_file(Path(target)) as partial, open(partial, "wb") as stream:
        stream.seek(8 * (count + 1))
        row = 0
        scratch = Scratch()
        for batch in part_batches(Path(part), ["text"]):
            rows = np.flatnonzero(chosen[row : row + batch.num_rows])
            if len(rows):
                texts = batch.column("text").take(pa.array(rows))
                sets, sizes[row + rows] = shingle(find_words(texts, scratch=scratch), ngram).distinct_sets()
                stream.write(sets.astype("<u8", copy=False).data)
            row += batch.num_rows
        stream.seek(0)
        np.concatenate(([0], np.cumsum(sizes))).astype("<u8").tofile(stream)
    return {"sets": int(chosen.sum()), "hashes": int(sizes.sum())}


def copy_sets(source: Path, count: int, rows: npt.NDArray[np.int64], target: Path) -> None:
    """Write the sets of some `rows` (sorted) of a file about `count` documents to a file about those rows."""
    with atomic_file(target) as partial, open(partial, "wb") as stream, open(source, "rb") as origin:
        offsets = np.fromfile(origin, dtype="<u8", count=count + 1).astype(np.int64)
        sizes = np.diff(offsets)[rows]
        np.concatenate(([0], np.cumsum(sizes))).astype("<u8").tofile(stream)
        for row, size in zip(rows.tolist(), sizes.tolist(), strict=True):
            origin.seek(8 * (count + 1 + int(offsets[row])))
            stream.write(origin.read(8 * size))


class ShingleSets:
    """The sets of all documents of a corpus, by position."""

    def __init__(self, corpus: Corpus) -> None:
        self._parts = corpus.parts
        self._ends = np.array([part.first + part.count for part in corpus.parts])
        self._files: OrderedDict[int, int] = OrderedDict()

    def __enter__(self) -> ShingleSets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def spans(self, positions: Integers) -> tuple[Integers, Integers]:
        """Where the sets of documents begin in the files of their parts, counted in numbers, and how many hashes they
        have, int64 [documents] each. `positions` are sorted and distinct."""
        firsts, sizes = (np.empty(len(positions), dtype=np.int64) for _ in range(2))
        bounds = np.searchsorted(positions, self._ends)
        for number, (low, high) in enumerate(pairwise([0, *bounds.tolist()])):
            if low < high:
                count = self._parts[number].count
                rows = positions[low:high] - self._parts[number].first
                if len(rows) * PAGE < count:
                    ends = np.stack([self._read(number, row, 2) for row in rows.tolist()]).astype(np.int64)
                else:
                    offsets = self._read(number, 0, count + 1).astype(np.int64)
                    ends = np.stack((offsets[rows], offsets[rows + 1]), axis=1)
                firsts[low:high] = ends[:, 0] + count + 1
                sizes[low:high] = ends[:, 1] - ends[:, 0]
        return firsts, sizes

    def read(self, positions: Integers, firsts: Integers, sizes: Integers) -> Hashes:
        """The sets of documents, whose spans are known, one after the other."""
        parts = np.searchsorted(self._ends, positions, side="right")
        spans = zip(parts.tolist(), firsts.tolist(), sizes.tolist(), strict=True)
        return np.concatenate([np.zeros(0, dtype=np.uint64), *(self._read(*span) for span in spans)])

    def _read(self, part: int, first: int, count: int) -> Hashes:
        """Some of the numbers in the file of a part."""
        file = self._files.get(part)
        if file is None:
            if len(self._files) == MAX_OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            file = self._files[part] = os.open(self._parts[part].sets, os.O_RDONLY)
        self._files.move_to_end(part)
        return np.frombuffer(os.pread(file, 8 * count, 8 * first), dtype="<u8")
