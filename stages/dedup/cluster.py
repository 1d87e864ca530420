"""From candidate pairs to duplicates: every pair is verified, and clusters are stars, never chains.

A pair counts when the exact Jaccard similarity of its shingle sets reaches the threshold. Going from the best document
down, a document that matches a kept, better document is removed; any other is kept. So a removed document always
matches a kept one itself, at a similarity that was measured, and every cluster keeps its best document. Taking
connected components of unverified pairs instead merges texts that have nothing in common through chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stages.dedup.corpus import read_corpus
from stages.dedup.shingle_sets import ShingleSets
from stages.dedup.shingles import jaccard
from stages.dedup.words import Hashes, Integers
from stages.engine.tasks import Result
from stages.storage import atomic_file

Floats = npt.NDArray[np.float64]

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
    edges: list[int] = []
    similarities: list[float] = []
    with ShingleSets(read_corpus(corpus)) as sets:
        for pair in candidates.tolist():
            better, worse = pair >> 32, pair & 0xFFFFFFFF
            small, large = sorted((sets.size(better), sets.size(worse)))
            if small < threshold * large:  # J <= small / large
                continue
            similarity = jaccard(sets[better], sets[worse])
            if similarity >= threshold:
                edges.append(pair)
                similarities.append(similarity)
    columns = {"edge": pa.array(edges, pa.uint64()), "jaccard": pa.array(similarities, pa.float64())}
    with atomic_file(Path(target)) as partial:
        pq.write_table(pa.table(columns), partial)
    return {"pairs": len(candidates), "edges": len(edges)}


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
