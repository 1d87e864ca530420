"""Boilerplate: find lines that occur in many documents of a source (of a web site, for crawls) and remove them.

Lines are compared in lower case, without surrounding white space and with single spaces; lines of fewer than
`min_words` words never count. A line counts once per document however often it is repeated there, and documents with
the same words count as one: copies of whole documents are left to `dedup`.

Three steps, each exact and bounded in memory:
1. for every file, the sorted pairs (line, document) it contains, as 64-bit hashes (`write_line_pairs`);
2. for every range of hashes, over all files, the number of documents per line (`count_documents`);
3. the repeated lines, a small table, are removed from every file (`RepeatedLines`, `remove_lines`).

References: CCNet (Wenzek et al. 2020, section 3.2) removes paragraphs that are repeated over a crawl.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.core.atomic_files import atomic_file
from gptoss.quality import repeated_line_kernels as kernels
from gptoss.quality.hashing import Hashes, hash64, is_member
from gptoss.quality.rules.characters import class_table
from gptoss.quality.urls import hosts
from gptoss.tables.batches import part_batches
from gptoss.text.arrays import utf8_bytes

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

PAIRS_PER_RANGE = 4_000_000
"""Average pairs per range of hashes: 64 MB, which sorting turns into about 300 MB."""
MAX_SAMPLES = 1_000
"""Repeated lines of which the wording is stored, for people to read."""


@dataclass(frozen=True)
class HashedLines:
    """The lines of a batch of texts."""

    keys: Hashes
    """uint64 [lines]: hash of the normalised line within its scope; 0 for a line that is too short to count."""
    contents: Hashes
    """uint64 [texts]: hash of all words of a text."""
    offsets: Integers
    """int64 [texts + 1]: the lines of text i are `offsets[i]:offsets[i + 1]`."""

    @property
    def owners(self) -> Integers:
        """The text of each line, int64 [lines]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def hash_lines(texts: pa.Array, scopes: Hashes, min_words: int) -> HashedLines:
    """Hash the lines of texts (string or large_string [texts], no nulls), each within the scope of its text."""
    data, offsets = utf8_bytes(pc.utf8_lower(texts.cast(pa.large_string())))
    lines = kernels.line_offsets(data, offsets)
    keys, contents = kernels.line_keys(class_table(), data, offsets, lines, scopes, min_words)
    return HashedLines(keys, contents, lines)


def document_scopes(batch: pa.RecordBatch, by_site: bool) -> Hashes:
    """The scope of each document's lines, uint64 [documents]: lines are only compared within equal scopes, which is
    the web site or the whole source."""
    if not by_site:
        return np.zeros(batch.num_rows, dtype=np.uint64)
    encoded = hosts(batch.column("url")).dictionary_encode()
    distinct = [hash64(host) for host in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(distinct, dtype=np.uint64)[encoded.indices.to_numpy()])


def write_line_pairs(file: str, pairs: str, min_words: int, by_site: bool) -> dict[str, Any]:
    """Task of step 1: write the distinct pairs (line, document) of a file, uint64 [pairs, 2], sorted."""
    found = [np.zeros((0, 2), dtype=np.uint64)]
    for batch in part_batches(Path(file), ["text", "url"]):
        found.append(line_pairs(hash_lines(batch.column("text"), document_scopes(batch, by_site), min_words)))
    distinct = _sorted_distinct(np.concatenate(found))
    _save(Path(pairs), distinct)
    return {"pairs": len(distinct)}


def line_pairs(lines: HashedLines) -> Hashes:
    """Each line of each document once, with the hash of the document's content, uint64 [pairs, 2]."""
    owners = lines.owners
    order = np.lexsort((lines.keys, owners))
    keys, owners = lines.keys[order], owners[order]
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
    counted = first & (keys != 0)
    return np.stack([keys[counted], lines.contents[owners[counted]]], axis=1)


def count_documents(
    pairs: Sequence[str], number: int, ranges: int, min_documents: int, repeated: str
) -> dict[str, Any]:
    """Task of step 2: of the lines in hash range `number` of `ranges`, write those in at least `min_documents`
    documents, uint64 [lines, 2]: hash and number of documents, sorted by hash."""
    first, last = number * 2**64 // ranges, (number + 1) * 2**64 // ranges - 1
    slices = [np.zeros((0, 2), dtype=np.uint64)]
    for file in pairs:
        # The files are sorted, so a range is one slice, and only its pages are read.
        pair_table = np.load(file, mmap_mode="r")
        low = np.searchsorted(pair_table[:, 0], np.uint64(first), side="left")
        high = np.searchsorted(pair_table[:, 0], np.uint64(last), side="right")
        slices.append(np.array(pair_table[low:high]))
    keys, documents = np.unique(_sorted_distinct(np.concatenate(slices))[:, 0], return_counts=True)
    is_repeated = documents >= min_documents
    _save(Path(repeated), np.stack([keys[is_repeated], documents[is_repeated].astype(np.uint64)], axis=1))
    return {"lines": int(is_repeated.sum())}


@dataclass(frozen=True)
class RepeatedLines:
    """The lines to remove from a source."""

    keys: Hashes
    """uint64 [lines], sorted."""
    documents: Integers
    """int64 [lines]: how many documents contain each."""
    sampled_keys: Hashes
    """uint64, sorted: the `MAX_SAMPLES` most frequent lines."""

    @classmethod
    def load(cls, file: Path) -> RepeatedLines:
        """Load the concatenated results of `count_documents`."""
        rows = np.load(file)
        keys, documents = rows[:, 0], rows[:, 1].astype(np.int64)
        most_frequent = np.lexsort((keys, -documents))[:MAX_SAMPLES]  # the key breaks ties: the same on every machine
        return cls(keys, documents, np.sort(keys[most_frequent]))

    def marks(self, lines: HashedLines) -> Flags:
        """Which lines are repeated, bool [lines]."""
        return is_member(lines.keys, self.keys)

    def samples(self, texts: pa.Array, lines: HashedLines) -> Iterator[tuple[int, str, int]]:
        """Hash, wording and number of documents of each sampled line that occurs in `texts`, once."""
        owners = lines.owners
        candidates = np.flatnonzero(is_member(lines.keys, self.sampled_keys))
        _, first = np.unique(lines.keys[candidates], return_index=True)
        for line in candidates[np.sort(first)].tolist():
            owner, key = owners[line], lines.keys[line]
            wording = texts[int(owner)].as_py().split("\n")[line - int(lines.offsets[owner])].strip()
            yield int(key), wording, int(self.documents[np.searchsorted(self.keys, key)])


def remove_lines(texts: pa.Array, lines: HashedLines, marks: Flags) -> pa.Array:
    """The texts (large_string [texts]) without the marked lines, bool [lines]. `lines` may be those of an earlier
    version of the texts, provided that the edits since then left every line feed in place.

    Errors: `ValueError` when the number of lines of a text differs.
    """
    if not marks.any():
        return texts
    data, offsets = utf8_bytes(texts)
    if not np.array_equal(kernels.line_offsets(data, offsets), lines.offsets):
        raise ValueError("these are not the texts whose lines are marked")
    data, bounds = kernels.without_lines(class_table(), data, offsets, lines.offsets, marks)
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(bounds), pa.py_buffer(data))


def _sorted_distinct(pairs: Hashes) -> Hashes:
    # np.unique(axis=0) gives the same rows, but compares them as opaque bytes in its own order.
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    first = np.ones(len(pairs), dtype=np.bool_)
    first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[first]


def _save(file: Path, array: Hashes) -> None:
    with atomic_file(file) as partial, partial.open("wb") as stream:
        np.save(stream, array)
