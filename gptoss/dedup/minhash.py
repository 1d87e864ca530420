"""MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, 3.3-3.4).

Each of bands x rows random permutations of the 32-bit numbers keeps its smallest shingle; two texts of Jaccard
similarity s agree on one with probability s, on a whole band of r rows with s^r, and on at least one of b bands with
1 - (1 - s^r)^b. Only a 64-bit key of each band is kept: 8 bytes where the signature needs 4 r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptoss.text.normalize import Hashes, Integers, mix


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


def band_keys(hashes: Hashes, offsets: Integers, size: int, permutations: Permutations) -> Hashes:
    """The key of each band of each text, uint64 [texts, bands], from the hashes of its words (words of text i are
    `offsets[i]:offsets[i + 1]`) in shingles of `size` words; a shorter text is one shingle. Texts without words get
    key 0 in every band."""
    from gptoss.text import kernels

    bands, rows = permutations.multiply.shape
    keys = np.zeros((len(offsets) - 1, bands), dtype=np.uint64)
    kernels.min_hash(hashes, offsets, size, permutations.multiply.ravel(), permutations.add.ravel(), rows, keys)
    return keys


def collision_probability(similarity: float, bands: int, rows: int) -> float:
    """The chance that two texts of this Jaccard similarity share a band key."""
    return float(1 - (1 - similarity**rows) ** bands)
