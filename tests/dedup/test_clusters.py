"""Candidates and clusters: recall as the theory says, precision by proof."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss.dedup.candidates import MAX_NEIGHBOURS, candidate_pairs, exact_duplicates
from gptoss.dedup.corpus import NEW, Corpus, Part
from gptoss.dedup.find_duplicates import resolve_clusters
from gptoss.dedup.minhash import Permutations, band_keys, collision_probability
from gptoss.dedup.shingle_sets import ShingleSets
from gptoss.dedup.signatures import document_ranks
from gptoss.dedup.star_clusters import edges_of, star_clusters
from gptoss.text.normalize import mix
from gptoss.text.shingles import window_hashes

PAIRS = 1_500
SIZE = 180


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("seed", [1, 1234])
def test_recall_is_that_of_the_theory(similarity: float, seed: int) -> None:
    rng = np.random.default_rng(7)
    shared = round(2 * SIZE * similarity / (1 + similarity))  # of sets of SIZE elements each
    exact = shared / (2 * SIZE - shared)
    common = rng.integers(0, 2**64, (PAIRS, shared), dtype=np.uint64)
    own = rng.integers(0, 2**64, (2, PAIRS, SIZE - shared), dtype=np.uint64)
    sets = np.stack([np.concatenate((common, own[side]), axis=1) for side in (0, 1)], axis=1)
    offsets = np.arange(2 * PAIRS + 1) * SIZE
    keys = band_keys(sets.ravel(), offsets, 1, Permutations.seeded(seed, 14, 8)).reshape(PAIRS, 2, 14)
    found = (keys[:, 0] == keys[:, 1]).any(axis=1).mean()
    expected = collision_probability(exact, 14, 8)
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / PAIRS) + 0.005


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=9), max_size=4), st.integers(1, 5), st.integers(0, 9))
def test_keys_are_those_of_plain_python(texts: list[list[int]], size: int, seed: int) -> None:
    permutations = Permutations.seeded(seed, 3, 2)
    offsets = np.cumsum([0, *map(len, texts)])
    found = band_keys(numbers(*(word for text in texts for word in text)), offsets, size, permutations)
    for text, keys in zip(texts, found.tolist(), strict=True):
        words = numbers(*text)
        shingles = window_hashes(words, min(size, len(text) or 1))[: max(1, len(text) - size + 1)].tolist()
        for band, key in enumerate(keys):
            expected = band
            for row in range(2):
                factor, summand = int(permutations.multiply[band, row]), int(permutations.add[band, row])
                least = min((((hashed >> 32) * factor + summand) % 2**32 for hashed in shingles), default=0)
                expected = int(mix(numbers(expected ^ least))[0])
            assert key == (expected if text else 0)


def test_keys_depend_on_the_text_alone() -> None:
    rng = np.random.default_rng(1)
    lengths = [0, 1, 5, 70_000, 0, 300, 200_000, 3]  # some longer than the kernel's chunk
    sets = [rng.integers(0, 2**64, length, dtype=np.uint64) for length in lengths]
    permutations = Permutations.seeded(3, 4, 2)

    def keys(chosen: list[np.ndarray]) -> np.ndarray:
        return band_keys(np.concatenate(chosen), np.cumsum([0, *map(len, chosen)]), 1, permutations)

    together = keys(sets)
    assert np.array_equal(together, np.concatenate([keys([one]) for one in sets]))
    assert np.array_equal(together[::-1], keys(sets[::-1]))
    assert np.array_equal(keys([np.repeat(sets[5], 3)[::-1].copy()]), keys([sets[5]]))  # a set: no order, no counts
    assert (together[[0, 4]] == 0).all()
    assert (together[1] != 0).all()


def test_the_longest_then_the_lowest_id_is_preferred() -> None:
    ids = ["00000001b", "00000000f", "zz", "00000000f", "ffffffff", "", "0000000a"]
    ranks = document_ranks(pa.array(ids, pa.large_string()), np.array([5, 5, 9, 5, 2**40, 0, 5]))
    assert ranks[1] == ranks[3] < ranks[0] < ranks[6]
    assert ranks[4] < ranks[2] < ranks[1]
    assert ranks.max() == ranks[5] < NEW


def numbers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def pairs_of(packed: np.ndarray) -> list[tuple[int, int]]:
    return [(pair >> 32, pair & 0xFFFFFFFF) for pair in packed.tolist()]


def test_exact_duplicates_name_the_best_one() -> None:
    high, low = numbers(7, 7, 7, 0, 7), numbers(1, 2, 1, 0, 1)
    copies, best = exact_duplicates(high, low, numbers(5, 1, 4, 1, 4), numbers(10, 11, 12, 13, 14))
    assert sorted(zip(copies.tolist(), best.tolist(), strict=True)) == [(10, 12), (14, 12)]
    assert [found.tolist() for found in exact_duplicates(*[numbers()] * 4)] == [[], []]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()), max_size=12))
def test_candidates_are_all_pairs_that_share_a_key(documents: list[tuple[int, int, bool]]) -> None:
    ranks = [rank + (int(NEW) if new else 0) for _, rank, new in documents]
    places = np.arange(len(documents), dtype=np.uint64) * np.uint64(3)
    found = candidate_pairs(numbers(*(key for key, _, _ in documents)), numbers(*ranks), places)
    expected = set()
    for i, (key, _, new) in enumerate(documents):
        for j, (other, _, other_new) in enumerate(documents):
            if key == other and (ranks[i], i) < (ranks[j], j) and (new or other_new):
                expected.add((3 * i, 3 * j))
    assert pairs_of(found) == sorted(expected)


def test_a_key_that_everyone_shares_cannot_blow_up() -> None:
    documents = 3_000
    ranks = np.arange(documents, dtype=np.uint64)[::-1] + NEW
    pairs = pairs_of(candidate_pairs(np.full(documents, 5, np.uint64), ranks, np.arange(documents, dtype=np.uint64)))
    assert len(pairs) <= (MAX_NEIGHBOURS + 1) * documents
    assert {worse for better, worse in pairs if better == documents - 1} == set(range(documents - 1))


@given(st.lists(st.sets(st.integers(0, 12)), min_size=2, max_size=9), st.integers(1, 4), st.integers(1, 3))
def test_edges_are_the_pairs_that_are_similar(sets: list[set[int]], group: int, cut: int) -> None:
    """Sets in two files, in groups smaller than what is compared."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("gptoss.dedup.star_clusters.MAX_GROUP", group)
        patched.setattr("gptoss.dedup.star_clusters.GROUP_BYTES", 100)
        patched.setattr("gptoss.dedup.shingle_sets.PAGE", cut - 1)
        parts, first = [], 0
        for number, piece in enumerate((sets[:cut], sets[cut:])):
            path = Path(folder) / str(number)
            offsets = np.cumsum([0, *map(len, piece)])
            np.array([*offsets, *(value for one in piece for value in sorted(one))], dtype="<u8").tofile(path)
            parts.append(Part("", str(path), first, len(piece), False))
            first += len(piece)
        pairs = [(i, j) for i in range(len(sets)) for j in range(len(sets)) if i != j]
        with ShingleSets(Corpus(tuple(parts))) as stored:
            edges, similarities = edges_of(numbers(*(i << 32 | j for i, j in pairs)), stored, 0.5)
    expected = {(i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in pairs if sets[i] | sets[j]}
    assert dict(zip(pairs_of(edges), similarities.tolist(), strict=True)) == {
        pair: similarity for pair, similarity in expected.items() if similarity >= 0.5
    }


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
    matches = star_clusters(count, pairs, np.array([edges[pair] for pair in sorted(edges)]))
    kept = set(np.flatnonzero(matches.partner < 0).tolist())
    one_by_one: set[int] = set()
    for document in range(count):
        if not any((better, document) in edges for better in one_by_one):
            one_by_one.add(document)
    assert kept == one_by_one
    for document in set(range(count)) - kept:
        partner = int(matches.partner[document])
        assert partner in kept
        assert matches.similarity[document] == edges[partner, document]  # measured with that very document
        assert all(
            edges[better, document] <= edges[partner, document] for better in kept if (better, document) in edges
        )
    assert not any((a, b) in edges for a in kept for b in kept)  # and no two kept ones match


def test_chains_are_not_followed() -> None:
    matches = star_clusters(4, np.array([[0, 1], [1, 2], [2, 3]]), np.array([0.8, 0.8, 0.9]))
    assert matches.partner.tolist() == [-1, 0, -1, 2]


def test_a_copy_of_a_removed_document_goes_to_the_kept_one() -> None:
    class Ranked(Corpus):
        documents = 5

        def ranks(self, positions: np.ndarray) -> np.ndarray:
            return positions.astype(np.uint64)

    # 6 and 7 were kept by an earlier run: 7 is worse than 0 by its rank, but known.
    edges, copies, best = np.array([[0, 1], [7, 2]]), np.array([3, 4]), np.array([1, 6])
    fate = resolve_clusters(Ranked(()), edges, np.array([0.75, 0.8]), copies, best, {})
    assert fate.duplicate_of.tolist() == [-1, 0, 7, 0, 6]
    assert fate.jaccard.tolist() == [0, 0.75, 0.8, 0.75, 1]
    assert fate.exact.tolist() == [False, False, False, False, True]
    assert fate.removed.tolist() == [False, True, True, True, True]
