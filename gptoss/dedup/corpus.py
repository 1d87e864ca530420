"""All documents of a run by position: first the new ones, part after part, then those that earlier runs kept.

A part is one file of documents, the unit of work of most tasks. The position of a document is its row number over all
parts; it identifies the document in every step. What is known about it is one row of its part's signature table, which
is read column by column, so that memory holds numbers of some documents at a time.
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
from gptoss.text.arrays import NO_HASHES, Hashes, Integers

# Set in the rank of new documents, so that every known document is preferred to every new one.
NEW_BIT = np.uint64(1 << 63)
# Two positions are packed into 64 bits.
MAX_DOCUMENTS = 2**32
# 64 Ki rows of one 8-byte column: 512 KiB, which stays in the cache while it is filtered.
_ROWS_PER_READ = 65_536


@dataclass(frozen=True)
class Part:
    """One file of documents, described by the files that hold its signatures (signatures.py) and its shingle sets
    (shingle_sets.py). `first` is the position of its first document; `known` parts come from earlier runs."""

    signatures: str
    shingle_sets: str
    first: int
    count: int
    known: bool
    checksum: str = ""
    """Checksum of the files of a known part, which may change without a change of their paths. It enters the arguments
    of tasks (see `Corpus.save`), so that a stage continues only if it still compares with the same documents."""

    @property
    def positions(self) -> slice:
        """The positions of its documents."""
        return slice(self.first, self.first + self.count)

    def read_columns(self, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Columns of the signature table in batches, each with the position of its first row."""
        position = self.first
        table = pq.ParquetFile(self.signatures)
        for batch in table.iter_batches(batch_size=_ROWS_PER_READ, columns=list(names), use_threads=False):
            yield position, batch
            position += batch.num_rows


@dataclass(frozen=True)
class Corpus:
    """The parts in order of position: new parts before known ones."""

    parts: tuple[Part, ...]

    @property
    def new_documents(self) -> int:
        """Number of new documents, which is also the position of the first known one."""
        return sum(part.count for part in self.parts if not part.known)

    @property
    def total(self) -> int:
        """Number of all documents. Errors: `DataError` when there are too many for one run."""
        total = sum(part.count for part in self.parts)
        if total >= MAX_DOCUMENTS:
            raise DataError(
                f"{total} documents including those of dedup.known; one run compares less than {MAX_DOCUMENTS}",
                "split the sources over several pipelines",
            )
        return total

    def read_columns(self, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Columns of all signature tables in batches, each with the position of its first row."""
        for part in self.parts:
            yield from part.read_columns(names)

    def ranks(self, positions: Integers) -> Hashes:
        """Order of preference of documents, uint64, lowest is best; equal for exact duplicates only. `positions` are
        sorted and distinct."""
        ranks = np.concatenate([NO_HASHES, *(np.asarray(batch) for batch in self._take("rank", positions))])
        # The stored rank depends on the document alone; whether it is new depends on the run.
        ranks[positions < self.new_documents] |= NEW_BIT
        return ranks

    def ids(self, positions: Integers) -> pa.Array:
        """Ids of documents, large_string. `positions` are sorted and distinct."""
        return pa.concat_arrays([pa.array([], pa.large_string()), *self._take("id", positions)])

    def _take(self, name: str, positions: Integers) -> Iterator[pa.Array]:
        for part in self.parts:
            # As positions are sorted, those in a part, and in a batch of its rows, are one slice.
            low, high = np.searchsorted(positions, (part.first, part.first + part.count))
            if low < high:
                for first, batch in part.read_columns([name]):
                    start, end = np.searchsorted(positions, (first, first + batch.num_rows))
                    yield batch.column(0).take(pa.array(positions[start:end] - first))

    def save(self, folder: Path) -> str:
        """Write the list of parts for `load_corpus`; returns its path, which is an argument of tasks.

        The file is named by its content, as results of tasks are reused when their arguments are equal.
        """
        parts = [asdict(part) for part in self.parts]
        path = folder / f"corpus-{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]}.json"
        write_json(path, parts)
        return str(path)


def load_corpus(path: str) -> Corpus:
    """The corpus that `Corpus.save` wrote."""
    return Corpus(tuple(Part(**part) for part in read_json(Path(path))))
