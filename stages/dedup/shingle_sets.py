"""Shingle sets of documents, kept in files: what pairs are verified with.

A file about n documents starts with n + 1 offsets (little-endian uint64), counted in hashes, and continues with the
sorted distinct hashes of document after document; a document that needs no set has an empty one. Files are read piece
by piece with `pread`: mapped pages would count as memory of the process.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.batches import part_batches
from stages.dedup.corpus import Corpus
from stages.dedup.shingles import shingle
from stages.dedup.words import Hashes, find_words
from stages.engine.tasks import Result
from stages.storage import atomic_file

MAX_OPEN_FILES = 256
CACHED_BYTES = 64 * 2**20
"""Sets kept at hand: the neighbours of a document are often compared with each other too."""


def write_sets(part: str, ngram: int, first: int, count: int, wanted: str, target: str) -> Result:
    """A task: the sets of those documents of a part that the file `wanted` (uint8 [all documents]) marks."""
    chosen = np.fromfile(wanted, dtype=np.bool_, count=count, offset=first)
    sizes = np.zeros(count, dtype=np.int64)
    with atomic_file(Path(target)) as partial, open(partial, "wb") as stream:
        stream.seek(8 * (count + 1))
        row = 0
        for batch in part_batches(Path(part), ["text"]):
            rows = np.flatnonzero(chosen[row : row + batch.num_rows])
            if len(rows):
                texts = batch.column("text").take(pa.array(rows))
                sets, sizes[row + rows] = shingle(find_words(texts), ngram).distinct_sets()
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
        self._firsts = np.array([part.first for part in corpus.parts])
        self._files: OrderedDict[int, int] = OrderedDict()
        self._cache: OrderedDict[int, Hashes] = OrderedDict()
        self._cached = 0

    def __enter__(self) -> ShingleSets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def __getitem__(self, position: int) -> Hashes:
        """The sorted distinct hashes of a document."""
        if position in self._cache:
            self._cache.move_to_end(position)
            return self._cache[position]
        number, start, end = self._span(position)
        hashes = self._read(number, self._parts[number].count + 1 + start, end - start)
        self._cache[position] = hashes
        self._cached += hashes.nbytes
        while self._cached > CACHED_BYTES:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return hashes

    def size(self, position: int) -> int:
        """How many distinct shingles a document has."""
        _, start, end = self._span(position)
        return end - start

    def _span(self, position: int) -> tuple[int, int, int]:
        number = int(np.searchsorted(self._firsts, position, side="right")) - 1
        start, end = self._read(number, position - self._parts[number].first, 2).tolist()
        return number, start, end

    def _read(self, number: int, first: int, count: int) -> Hashes:
        """Some of the numbers in the file of a part."""
        file = self._files.get(number)
        if file is None:
            if len(self._files) == MAX_OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            file = self._files[number] = os.open(self._parts[number].sets, os.O_RDONLY)
        self._files.move_to_end(number)
        return np.frombuffer(os.pread(file, 8 * count, 8 * first), dtype="<u8")
