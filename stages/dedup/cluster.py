"""From candidate pairs to duplicates: every pair is verified, and clusters are stars, never chains.

A pair counts when the exact Jaccard similarity of its shingle sets reaches the threshold. Going from the best document
down, a document that matches a kept, better document is removed; any other is kept. So a removed document always
matches a kept one itself, at a similarity that was measured, and every cluster keeps its best document. Taking
connected components of unverified pairs instead merges texts that have nothing in common through chains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.dedup.shingles import jaccard
from stages.dedup.words import Hashes, Integers

Floats = npt.NDArray[np.float64]

_UNDECIDED, _KEPT, _REMOVED = 0, 1, 2


@dataclass(frozen=True)
class Matches:
    """Where each document went. `partner` int64 [documents]: the kept document it duplicates, -1 when it is kept;
    `similarity` float64 [documents]: their Jaccard similarity, 0 when it is kept."""

    partner: Integers
    similarity: Floats


class ShingleSets:
    """Sorted shingle sets of some documents, in one file that is mapped, not read: memory stays bounded."""

    def __init__(self, path: Path, sets: Iterable[tuple[int, Hashes]]) -> None:
        """Write the sets of a stream of (document, sorted distinct hashes)."""
        self._spans: dict[int, tuple[int, int]] = {}
        end = 0
        with open(path, "wb") as stream:
            for document, hashes in sets:
                self._spans[document] = (end, end + len(hashes))
                end += len(hashes)
                stream.write(hashes.astype("<u8").tobytes())
        self._hashes = np.memmap(path, dtype="<u8", mode="r") if end else np.zeros(0, dtype="<u8")

    def size(self, document: int) -> int:
        """Distinct shingles of a document."""
        start, end = self._spans[document]
        return end - start

    def __getitem__(self, document: int) -> Hashes:
        start, end = self._spans[document]
        return np.asarray(self._hashes[start:end])


def verify(pairs: Iterable[tuple[int, int]], sets: ShingleSets, threshold: float) -> tuple[Integers, Floats]:
    """The pairs whose exact Jaccard similarity is at least `threshold`: int64 [edges, 2] and float64 [edges]."""
    edges: list[tuple[int, int]] = []
    similarities: list[float] = []
    for better, worse in pairs:
        small, large = sorted((sets.size(better), sets.size(worse)))
        if small < threshold * large:  # J <= small / large
            continue
        similarity = jaccard(sets[better], sets[worse])
        if similarity >= threshold:
            edges.append((better, worse))
            similarities.append(similarity)
    return np.array(edges, dtype=np.int64).reshape(-1, 2), np.array(similarities, dtype=np.float64)


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


def with_exact(matches: Matches, exact: Integers) -> Matches:
    """Add the exact duplicates: each goes where the best document with its words went (`exact`, -1 for the best
    document itself), at similarity 1 when that one is kept."""
    copies = np.flatnonzero(exact >= 0)
    best = exact[copies]
    removed = matches.partner[best] >= 0
    matches.partner[copies] = np.where(removed, matches.partner[best], best)
    matches.similarity[copies] = np.where(removed, matches.similarity[best], 1.0)
    return matches
