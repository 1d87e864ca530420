"""MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, 3.3-3.4).

Each of bands x rows random permutations of the 32-bit numbers keeps its smallest shingle; two texts of Jaccard
similarity s agree on one with probability s, on a whole band of r rows with s^r, and on at least one of b bands with
1 - (1 - s^r)^b. Only a 64-bit key of each band is kept: 8 bytes where the signature needs 4 r.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stages.dedup.shingles import Shingles
from stages.dedup.words import Hashes, mix

_CHUNK = 1 << 16
"""Shingles hashed at a time: they stay in the processor's cache over all permutations (4x faster than all at once)."""


@dataclass(frozen=True)
class Permutations:
    """x -> (multiply * x + add) mod 2^32, uint32 [bands, rows] each; odd multipliers make each a permutation."""

    multiply: npt.NDArray[np.uint32]
    add: npt.NDArray[np.uint32]

    @classmethod
    def seeded(cls, seed: int, bands: int, rows: int) -> Permutations:
        """The permutations of this seed: the same on every machine."""
        counters = np.arange(2 * bands * rows, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32))
        drawn = (mix(counters) >> np.uint64(32)).astype(np.uint32).reshape(2, bands, rows)
        return cls(drawn[0] | np.uint32(1), drawn[1])


def band_keys(shingles: Shingles, permutations: Permutations) -> Hashes:
    """The key of each band of each text, uint64 [texts, bands]. Texts without shingles get key 0 in every band."""
    bands, rows = permutations.multiply.shape
    filled = np.flatnonzero(np.diff(shingles.offsets))
    bounds = np.append(shingles.offsets[filled], shingles.offsets[-1])
    short = (shingles.hashes >> np.uint64(32)).astype(np.uint32)
    smallest = np.empty((bands * rows, len(filled)), dtype=np.uint32)
    for first, last in _chunks(bounds):
        piece = short[bounds[first] : bounds[last]]
        starts = bounds[first:last] - bounds[first]
        permuted = np.empty_like(piece)
        for number in range(bands * rows):
            np.multiply(piece, permutations.multiply.flat[number], out=permuted)
            np.add(permuted, permutations.add.flat[number], out=permuted)
            np.minimum.reduceat(permuted, starts, out=smallest[number, first:last])
    keys = np.zeros((len(shingles.offsets) - 1, bands), dtype=np.uint64)
    for band in range(bands):
        key = np.full(len(filled), band, dtype=np.uint64)
        for row in smallest[band * rows : (band + 1) * rows]:
            key = mix(key ^ row)
        keys[filled, band] = key
    return keys


def _chunks(bounds: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Runs of whole texts of about `_CHUNK` shingles: pairs (first text, last text exclusive)."""
    cuts = [0]
    while cuts[-1] < len(bounds) - 1:
        reach = int(np.searchsorted(bounds, bounds[cuts[-1]] + _CHUNK, side="right")) - 1
        cuts.append(max(reach, cuts[-1] + 1))
    return list(pairwise(cuts))


def collision_probability(similarity: float, bands: int, rows: int) -> float:
    """The chance that two texts of this Jaccard similarity share a band key."""
    return float(1 - (1 - similarity**rows) ** bands)
