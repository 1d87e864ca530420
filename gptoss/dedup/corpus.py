"""All documents by position: the new ones, part after part, then those that earlier runs kept.

A position stands for a document in every step, and what is known about it is a row of its part's signature table, read
column by column. So memory holds numbers of some documents at a time, and a step needs nothing but this list of files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import DataError
from gptoss.text.normalize import Hashes, Integers

NEW = np.uint64(1 << 63)
"""Added to the rank of a new document: every known one is preferred to it."""
MAX_DOCUMENTS = 2**32
"""Two positions are packed in 64 bits."""


@dataclass(frozen=True)
class Part:
    """One file of documents. `signatures` (signatures.py) and `sets` (shingle_sets.py) are files about them, `first`
    the position of the first, `known` whether an earlier run kept them; then `checksum` says what is in the files."""

    signatures: str
    sets: str
    first: int
    count: int
    known: bool
    checksum: str = ""

    @property
    def positions(self) -> slice:
        """Where its documents are among all."""
        return slice(self.first, self.first + self.count)


@dataclass(frozen=True)
class Corpus:
    """The parts in order of position: new ones before known ones."""

    parts: tuple[Part, ...]

    @property
    def documents(self) -> int:
        """New documents: their positions come first."""
        return sum(part.count for part in self.parts if not part.known)

    @property
    def total(self) -> int:
        """All documents, known ones too. Raises `DataError` when there are too many for one run."""
        total = sum(part.count for part in self.parts)
        if total >= MAX_DOCUMENTS:
            raise DataError(
                f"{total} documents, known ones included: one run compares less than {MAX_DOCUMENTS}",
                "split the sources over several pipelines",
            )
        return total

    def column(self, name: str) -> Iterator[tuple[int, Hashes]]:
        """A column of numbers as uint64 pieces, each with the position of its first row."""
        for position, batch in self.columns([name]):
            yield position, np.asarray(batch.column(0), dtype=np.uint64)

    def columns(self, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Some columns of the signatures in pieces, each with the position of its first row."""
        for part in self.parts:
            yield from part_columns(part, names)

    def ranks(self, positions: Integers) -> Hashes:
        """Place of documents in the order of preference, uint64, lowest is best; equal only for copies. `positions`
        are sorted and distinct."""
        found = self._taken("rank", positions)
        ranks = np.concatenate([np.asarray(piece, dtype=np.uint64) for piece in found] or [np.zeros(0, np.uint64)])
        ranks[positions < self.documents] |= NEW
        return ranks

    def ids(self, positions: Integers) -> pa.Array:
        """Ids of documents (large_string), whose `positions` are sorted and distinct."""
        return pa.concat_arrays([pa.array([], pa.large_string()), *self._taken("id", positions)])

    def _taken(self, name: str, positions: Integers) -> Iterator[pa.Array]:
        for part in self.parts:
            low, high = np.searchsorted(positions, (part.first, part.first + part.count))
            if low < high:
                for first, batch in part_columns(part, [name]):
                    start, end = np.searchsorted(positions, (first, first + batch.num_rows))
                    yield batch.column(0).take(pa.array(positions[start:end] - first))

    def written(self, folder: Path) -> str:
        """The path of this list as a file, named by its content: an argument for tasks."""
        text = json.dumps([asdict(part) for part in self.parts], sort_keys=True)
        path = folder / f"corpus-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        write_json(path, json.loads(text))
        return str(path)


def read_corpus(path: str) -> Corpus:
    """The list that `Corpus.written` wrote."""
    return Corpus(tuple(Part(**part) for part in read_json(Path(path))))


def part_columns(part: Part, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Some columns of the signatures of one part in pieces, each with the position of its first row."""
    position = part.first
    table = pq.ParquetFile(part.signatures)
    for batch in table.iter_batches(batch_size=65_536, columns=list(names), use_threads=False):
        yield position, batch
        position += batch.num_rows
