"""From edges to duplicates: clusters of duplicates are stars around one kept document, never chains.

Going through the documents in order of preference, a document that is similar to a kept, preferred document is removed;
any other is kept. So a removed document is always similar to a kept one itself, with a similarity that was measured,
and no two kept documents are similar. The usual alternative, connected components of unverified pairs, merges texts
that have nothing in common through chains of similar texts.
"""

from __future__ import annotations

import numpy as np

from gptoss.text.arrays import Floats, Integers

_UNDECIDED, _KEPT, _REMOVED = 0, 1, 2


def star_clusters(documents: int, edges: Integers, similarities: Floats) -> tuple[Integers, Floats]:
    """Decide for every document. `edges` int64 [edges, 2] are pairs (preferred, other) of documents that are numbered
    in order of preference; `similarities` float64 [edges].

    Returns the kept document that each document duplicates, int64 [documents], -1 if it is kept, and their Jaccard
    similarity, float64 [documents], 0 if it is kept. A removed document belongs to the most similar of the kept,
    preferred documents on its edges; among equally similar ones to the preferred one.
    """
    preferred, other = edges[:, 0], edges[:, 1]
    state = np.full(documents, _KEPT, dtype=np.int8)
    state[other] = _UNDECIDED
    # Rounds over all edges as vectors, with the result of a loop over documents: a document is removed as soon as a
    # preferred neighbour is kept, and kept as soon as all preferred neighbours are removed. Each round decides at least
    # the undecided document that is preferred to all other undecided ones; in practice a few rounds suffice.
    while (state == _UNDECIDED).any():
        blocked = np.zeros(documents, dtype=np.bool_)
        blocked[other[state[preferred] != _REMOVED]] = True
        duplicate = np.zeros(documents, dtype=np.bool_)
        duplicate[other[state[preferred] == _KEPT]] = True
        undecided = state == _UNDECIDED
        state[undecided & duplicate] = _REMOVED
        state[undecided & ~blocked] = _KEPT
    # Edges between a removed and a kept document are sorted by removed document, similarity and preference; the first
    # edge of each removed document is reported.
    usable = np.flatnonzero((state[preferred] == _KEPT) & (state[other] == _REMOVED))
    order = usable[np.lexsort((preferred[usable], -similarities[usable], other[usable]))]
    removed, first = np.unique(other[order], return_index=True)
    center, similarity = np.full(documents, -1, dtype=np.int64), np.zeros(documents)
    center[removed] = preferred[order][first]
    similarity[removed] = similarities[order][first]
    return center, similarity
