"""From candidate pairs to duplicates: every pair is verified, and clusters are stars, never chains.

A pair counts when the exact Jaccard similarity of its shingle sets reaches the threshold. Going from the best document
down, a document that matches a kept, better document is removed; any other is kept. So a removed document always
matches a kept one itself, at a similarity that was measured, and every cluster keeps its best document. Taking
connected components of unverified pairs instead merges texts that have nothing in common through chains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.corpus import read_corpus
from gptoss.dedup.shingle_sets import ShingleSets
from gptoss.executor.tasks import Result
from gptoss.text.normalize import Hashes, Integers

Floats = npt.NDArray[np.float64]

GROUP_BYTES = 32 * 2**20
MAX_GROUP = 8192
"""Pairs compared at a time."""
_UNDECIDED, _KEPT, _REMOVED = 0, 1, 2


@dataclass(frozen=True)
class Matches:
    """Where each document went. `partner` int64 [documents]: the kept document it duplicates, -1 when it is kept;
    `similarity` float64 [documents]: their Jaccard similarity, 0 when it is kept."""

    partner: Integers
    similarity: Floats


def verify(corpus: str, pairs: Sequence[str], low: int, high: int, threshold: float, target: str) -> Result:
    """A task: compare the pairs (packed, in sorted files) from `low` up to `high`. Writes the edges, those whose exact
    Jaccard similarity is at least `threshold`: `edge` uint64, packed, and `jaccard` float64."""
    candidates = np.unique(np.concatenate([_between(Path(path), low, high) for path in pairs]))
    with ShingleSets(read_corpus(corpus)) as sets:
        edges, similarities = edges_of(candidates, sets, threshold)
    with atomic_file(Path(target)) as partial:
        pq.write_table(pa.table({"edge": edges, "jaccard": similarities}), partial)
    return {"pairs": len(candidates), "edges": len(edges)}


def edges_of(pairs: Hashes, sets: ShingleSets, threshold: float) -> tuple[Hashes, Floats]:
    """The pairs (packed, distinct) whose similarity is at least `threshold`, and that."""
    both = unpacked(pairs)
    documents, numbers = np.unique(both, return_inverse=True)
    numbers = numbers.reshape(both.shape)
    firsts, sizes = sets.spans(documents)
    small, large = np.sort(sizes[numbers], axis=1).T
    near = small >= threshold * large  # as J <= small / large
    pairs, numbers = pairs[near], numbers[near]
    similarities = np.concatenate(
        [
            np.zeros(0),
            *(jaccards(documents, firsts, sizes, group, sets) for group in _groups(numbers, sizes)),
        ]
    )
    holds = similarities >= threshold
    return pairs[holds], similarities[holds]


def jaccards(documents: Integers, firsts: Integers, sizes: Integers, pairs: Integers, sets: ShingleSets) -> Floats:
    """Exact similarities of pairs int64 [pairs, 2], which number the `documents`; float64 [pairs]."""
    from gptoss.text import kernels

    wanted, pairs_here = np.unique(pairs, return_inverse=True)
    hashes = sets.read(documents[wanted], firsts[wanted], sizes[wanted])
    offsets = np.concatenate(([0], np.cumsum(sizes[wanted])))
    shared = np.zeros(len(pairs), dtype=np.int64)
    kernels.shared(hashes, offsets, np.ascontiguousarray(pairs_here.reshape(pairs.shape)), shared)
    union = sizes[pairs].sum(axis=1) - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 0.0)


def _groups(pairs: Integers, sizes: Integers) -> Iterator[Integers]:
    """Runs of pairs whose sets are in memory together: of about `GROUP_BYTES`, never less than one pair."""
    start = 0
    while start < len(pairs):
        count = min(MAX_GROUP, len(pairs) - start)
        while count > 1 and 8 * int(sizes[np.unique(pairs[start : start + count])].sum()) > GROUP_BYTES:
            count //= 2
        yield pairs[start : start + count]
        start += count


def unpacked(pairs: Hashes) -> Integers:
    """Pairs packed as better << 32 | worse as int64 [pairs, 2]."""
    return np.stack((pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)), axis=1).astype(np.int64)


def _between(path: Path, low: int, high: int) -> Hashes:
    """The numbers of a sorted file from `low` up to, without, `high`."""
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.uint64)
    values = np.memmap(path, dtype="<u8", mode="r")
    start, end = np.searchsorted(values, np.array([low, high], dtype=np.uint64))
    return np.fromfile(path, dtype="<u8", count=int(end - start), offset=8 * int(start))


def star_clusters(documents: int, edges: Integers, similarities: Floats) -> Matches:
    """Decide every document. Edges are pairs (better, worse) of documents numbered by preference.

    Rounds over all edges at once: a document is removed as soon as a better neighbour is kept, and kept as soon as all
    its better neighbours are removed; the result is that of going through the documents one by one. A removed document
    names, among the kept better ones, the most similar (then the best).
    """
    better, worse = edges[:, 0], edges[:, 1]
    state = np.full(documents, _KEPT, dtype=np.int8)
    state[worse] = _UNDECIDED
    while (state == _UNDECIDED).any():
        waiting = np.zeros(documents, dtype=np.bool_)
        waiting[worse[state[better] != _REMOVED]] = True
        beaten = np.zeros(documents, dtype=np.bool_)
        beaten[worse[state[better] == _KEPT]] = True
        undecided = state == _UNDECIDED
        state[undecided & beaten] = _REMOVED
        state[undecided & ~waiting] = _KEPT
    usable = np.flatnonzero((state[better] == _KEPT) & (state[worse] == _REMOVED))
    order = usable[np.lexsort((better[usable], -similarities[usable], worse[usable]))]
    removed, first = np.unique(worse[order], return_index=True)
    matches = Matches(np.full(documents, -1, dtype=np.int64), np.zeros(documents))
    matches.partner[removed] = better[order][first]
    matches.similarity[removed] = similarities[order][first]
    return matches
