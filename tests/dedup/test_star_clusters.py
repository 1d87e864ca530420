"""Star clusters: every removed document is similar to a kept one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptoss.dedup.star_clusters import star_clusters

EDGES = st.integers(2, 12).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.dictionaries(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1]),
            st.sampled_from([0.7, 0.8, 0.9, 1.0]),
        ),
    )
)


@given(EDGES)
def test_a_removed_document_always_matches_a_kept_one(graph: tuple[int, dict[tuple[int, int], float]]) -> None:
    count, edges = graph
    pairs = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    centers, similarity = star_clusters(count, pairs, np.array([edges[pair] for pair in sorted(edges)]))
    kept = set(np.flatnonzero(centers < 0).tolist())
    one_by_one: set[int] = set()
    for document in range(count):
        if not any((preferred, document) in edges for preferred in one_by_one):
            one_by_one.add(document)
    assert kept == one_by_one
    for document in set(range(count)) - kept:
        center = int(centers[document])
        assert center in kept
        assert similarity[document] == edges[center, document]  # measured with that very document
        assert all(
            edges[preferred, document] <= edges[center, document]
            for preferred in kept
            if (preferred, document) in edges
        )
    assert not any((a, b) in edges for a in kept for b in kept)  # and no two kept ones match


def test_chains_are_not_followed() -> None:
    centers, _ = star_clusters(4, np.array([[0, 1], [1, 2], [2, 3]]), np.array([0.8, 0.8, 0.9]))
    assert centers.tolist() == [-1, 0, -1, 2]
