"""Boilerplate: lines that stand in many documents of a source (of a web site, for crawls) are cut out of all of them.

Lines are compared without white space around them, with single spaces and in lower case; lines of fewer than
`min_words` words never count. A line stands in a document once however often it is repeated there, and documents with
the same words count as one: copies of a whole document are `dedup`'s to judge, not boilerplate.

Three steps, each exact and bounded in memory: every part writes the pairs (line, document) it holds as 64-bit hashes,
sorted; every range of hashes counts, over all parts, the documents of each line; what remains, the repeated lines,
is small and cut from every part. Lines repeated over a crawl are cut so by CCNet (Wenzek et al. 2020, section 3.1).
"""

from __future__ import annotations

import hashlib
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
from gptoss.tables.batches import part_batches

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

PAIRS_PER_RANGE = 4_000_000
"""Pairs a range of hashes holds on average: 64 MB, sorted in about 300 MB."""
MAX_SAMPLES = 1_000
"""Lines shown to people."""


@dataclass(frozen=True)
class Lines:
    """The lines of a batch: `keys` uint64 [lines], 0 where a line never counts; `contents` uint64 [texts], a hash of
    all words of a text; `offsets` int64 [texts + 1]."""

    keys: Hashes
    contents: Hashes
    offsets: Integers

    @property
    def owners(self) -> Integers:
        """The text of each line, int64 [lines]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def find_lines(texts: pa.Array, scopes: Hashes, min_words: int) -> Lines:
    """Hash the lines of texts (string or large_string [texts], no nulls), each within its text's scope."""
    data, offsets = buffers(pc.utf8_lower(texts.cast(pa.large_string())))
    lines = kernels.line_offsets(data, offsets)
    keys, contents = kernels.line_keys(data, offsets, lines, scopes, min_words)
    return Lines(keys, contents, lines)


def site_scopes(urls: pa.Array) -> Hashes:
    """A hash of the host of each address, uint64 [addresses]: the lines of one site are compared with each other."""
    from gptoss.quality.urls import hosts

    encoded = hosts(urls).dictionary_encode()
    distinct = [hashed(host) for host in encoded.dictionary.to_pylist()]
    return np.array(distinct, dtype=np.uint64)[encoded.indices.to_numpy()] if distinct else np.zeros(0, np.uint64)


def hashed(text: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def scopes(batch: pa.RecordBatch, by_site: bool) -> Hashes:
    """The scope of the lines of each document, uint64 [documents]."""
    return site_scopes(batch.column("url")) if by_site else np.zeros(batch.num_rows, dtype=np.uint64)


def list_lines(part: str, pairs: str, min_words: int, by_site: bool) -> dict[str, Any]:
    """Task: write the distinct pairs (line, document) of a part, uint64 [pairs, 2] sorted."""
    found = [np.zeros((0, 2), dtype=np.uint64)]
    for batch in part_batches(Path(part), ["text", "url"]):
        found.append(line_pairs(find_lines(batch.column("text"), scopes(batch, by_site), min_words)))
    distinct = _distinct(np.concatenate(found))
    _save(Path(pairs), distinct)
    return {"pairs": len(distinct)}


def line_pairs(lines: Lines) -> Hashes:
    """Each line of each document once, with the hash of the document's content, uint64 [pairs, 2]."""
    owners = lines.owners
    order = np.lexsort((lines.keys, owners))
    keys, owners = lines.keys[order], owners[order]
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
    keys, owners = keys[first & (keys != 0)], owners[first & (keys != 0)]
    return np.stack([keys, lines.contents[owners]], axis=1)


def count_lines(pairs: Sequence[str], number: int, ranges: int, min_documents: int, repeated: str) -> dict[str, Any]:
    """Task: of the lines in range `number`, those of at least `min_documents` documents, uint64 [lines, 2]: hash and
    documents, sorted by hash."""
    first, end = number * 2**64 // ranges, (number + 1) * 2**64 // ranges - 1
    slices = [np.zeros((0, 2), dtype=np.uint64)]
    for file in pairs:
        table = np.load(file, mmap_mode="r")
        low = np.searchsorted(table[:, 0], np.uint64(first), side="left")
        high = np.searchsorted(table[:, 0], np.uint64(end), side="right")
        slices.append(np.array(table[low:high]))
    keys, documents = np.unique(_distinct(np.concatenate(slices))[:, 0], return_counts=True)
    often = documents >= min_documents
    _save(Path(repeated), np.stack([keys[often], documents[often].astype(np.uint64)], axis=1))
    return {"lines": int(often.sum())}


@dataclass(frozen=True)
class Repeated:
    """The lines to cut: `keys` uint64 sorted, `documents` int64 [lines], `samples` uint64 sorted: those to show."""

    keys: Hashes
    documents: Integers
    samples: Hashes

    @classmethod
    def load(cls, file: Path) -> Repeated:
        """What `count_lines` found, joined."""
        table = np.load(file)
        keys, documents = table[:, 0], table[:, 1].astype(np.int64)
        most = np.lexsort((keys, -documents))[:MAX_SAMPLES]
        return cls(keys, documents, np.sort(keys[most]))

    def marks(self, lines: Lines) -> npt.NDArray[np.bool_]:
        """Which lines are cut, bool [lines]."""
        return member(self.keys, lines.keys)


def member(sorted_keys: Hashes, keys: Hashes) -> npt.NDArray[np.bool_]:
    """Which of `keys` are in `sorted_keys`, bool [keys]."""
    if len(sorted_keys) == 0:
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.asarray(sorted_keys[places] == keys)


def cut(texts: pa.Array, lines: Lines, marks: npt.NDArray[np.bool_]) -> pa.Array:
    """The texts (large_string [texts], with the same lines as those `lines` was made of) without the marked lines."""
    if not marks.any():
        return texts
    data, offsets = buffers(texts)
    if not np.array_equal(kernels.line_offsets(data, offsets), lines.offsets):
        raise ValueError("these are not the texts whose lines are marked")
    data, bounds = kernels.without_lines(data, offsets, lines.offsets, marks)
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(bounds), pa.py_buffer(data))


def samples(texts: pa.Array, lines: Lines, wanted: Hashes) -> Iterator[tuple[int, str]]:
    """Hash and wording of each line of `texts` that is in `wanted` (sorted), once."""
    owners = lines.owners
    rows = np.flatnonzero(member(wanted, lines.keys))
    _, first = np.unique(lines.keys[rows], return_index=True)
    for row in rows[np.sort(first)].tolist():
        text = texts[int(owners[row])].as_py()
        yield int(lines.keys[row]), text.split("\n")[row - int(lines.offsets[owners[row]])].strip()


def buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], Integers]:
    """UTF-8 bytes and offsets, int64 [texts + 1], of a large_string array without nulls."""
    _, bounds, data = texts.buffers()
    offsets = np.frombuffer(bounds, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if data is None or len(offsets) == 0:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    return np.frombuffer(data, dtype=np.uint8)[: offsets[-1]], offsets


def _distinct(pairs: Hashes) -> Hashes:
    """Sorted, each pair once."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    kept = np.ones(len(pairs), dtype=np.bool_)
    kept[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[kept]


def _save(file: Path, array: Hashes) -> None:
    with atomic_file(file) as partial, partial.open("wb") as stream:
        np.save(stream, array)
