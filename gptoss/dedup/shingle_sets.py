"""Shingle sets of documents in files, from which the similarity of candidate pairs is measured.

A file about n documents begins with n + 1 offsets (little-endian uint64), in units of hashes, and continues with the
sorted distinct hashes of each document. Documents that are in no pair have empty sets. Files are read with `pread` and
not mapped, as mapped pages would count as memory of the process, which containers limit.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.corpus import Corpus
from gptoss.executor.tasks import Result
from gptoss.tables.batches import part_batches
from gptoss.text.arrays import NO_HASHES, Hashes, Integers, offsets_of
from gptoss.text.normalize import ScratchBuffers, find_words
from gptoss.text.shingles import shingle

# Below the usual limit of 1024 open files per process, which the threads of a process share.
MAX_OPEN_FILES = 256
# Offsets in a page of memory (4 KiB). When fewer than one document in this many is read, all offsets of the file would
# be mostly unused pages, so they are read one by one.
OFFSETS_PER_PAGE = 512
_NUMBER_BYTES = 8


def write_shingle_sets(part: str, ngram: int, first: int, count: int, flags: str, target: str) -> Result:
    """Task: the sets of the documents of a part that the file `flags` (uint8 [all documents]) marks."""
    selected = np.fromfile(flags, dtype=np.bool_, count=count, offset=first)
    sizes = np.zeros(count, dtype=np.int64)
    with atomic_file(Path(target)) as partial, open(partial, "wb") as stream:
        stream.seek(_NUMBER_BYTES * (count + 1))  # the offsets are known at the end
        row = 0
        scratch = ScratchBuffers()
        for batch in part_batches(Path(part), ["text"]):
            # Only the selected texts are normalised and hashed: this is most of the work.
            rows = np.flatnonzero(selected[row : row + batch.num_rows])
            if len(rows):
                texts = batch.column("text").take(pa.array(rows))
                sets, sizes[row + rows] = shingle(find_words(texts, scratch=scratch), ngram).distinct_sets()
                stream.write(sets.astype("<u8", copy=False).data)
            row += batch.num_rows
        stream.seek(0)
        offsets_of(sizes).astype("<u8").tofile(stream)
    return {"sets": int(selected.sum()), "hashes": int(sizes.sum())}


def copy_shingle_sets(source: Path, count: int, rows: Integers, target: Path) -> None:
    """Write the sets of some `rows` (sorted) of a file about `count` documents to a file about those rows."""
    with atomic_file(target) as partial, open(partial, "wb") as stream, open(source, "rb") as original:
        offsets = np.fromfile(original, dtype="<u8", count=count + 1).astype(np.int64)
        sizes = np.diff(offsets)[rows]
        offsets_of(sizes).astype("<u8").tofile(stream)
        for row, size in zip(rows.tolist(), sizes.tolist(), strict=True):
            original.seek(_NUMBER_BYTES * (count + 1 + int(offsets[row])))
            stream.write(original.read(_NUMBER_BYTES * size))


class ShingleSets:
    """The sets of all documents of a corpus, by position."""

    def __init__(self, corpus: Corpus) -> None:
        self._parts = corpus.parts
        self._ends = np.array([part.first + part.count for part in corpus.parts])
        self._files: OrderedDict[int, int] = OrderedDict()  # file descriptor per part, least recently used first

    def __enter__(self) -> ShingleSets:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def locate(self, positions: Integers) -> tuple[Integers, Integers]:
        """Where the sets of documents begin in the files of their parts, in units of numbers, and their sizes in
        hashes, int64 [documents] each. `positions` are sorted and distinct."""
        starts, sizes = (np.empty(len(positions), dtype=np.int64) for _ in range(2))
        bounds = np.searchsorted(positions, self._ends)
        for number, (low, high) in enumerate(pairwise([0, *bounds.tolist()])):
            if low < high:
                count = self._parts[number].count
                rows = positions[low:high] - self._parts[number].first
                if len(rows) * OFFSETS_PER_PAGE < count:
                    edges = np.stack([self._read_numbers(number, row, 2) for row in rows.tolist()]).astype(np.int64)
                else:
                    offsets = self._read_numbers(number, 0, count + 1).astype(np.int64)
                    edges = np.stack((offsets[rows], offsets[rows + 1]), axis=1)
                starts[low:high] = edges[:, 0] + count + 1
                sizes[low:high] = edges[:, 1] - edges[:, 0]
        return starts, sizes

    def read(self, positions: Integers, starts: Integers, sizes: Integers) -> Hashes:
        """The sets of documents, located by `locate`, one after the other."""
        # One read per document: neighbours in `positions` are rarely neighbours in a file.
        parts = np.searchsorted(self._ends, positions, side="right")
        locations = zip(parts.tolist(), starts.tolist(), sizes.tolist(), strict=True)
        return np.concatenate([NO_HASHES, *(self._read_numbers(*location) for location in locations)])

    def _read_numbers(self, part: int, first: int, count: int) -> Hashes:
        file = self._files.get(part)
        if file is None:
            if len(self._files) == MAX_OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            file = self._files[part] = os.open(self._parts[part].shingle_sets, os.O_RDONLY)
        self._files.move_to_end(part)
        return np.frombuffer(os.pread(file, _NUMBER_BYTES * count, _NUMBER_BYTES * first), dtype="<u8")
