"""MinHash signatures divided into bands.

Each of bands x rows random permutations of the 32-bit numbers selects its smallest shingle. Two texts of Jaccard
similarity s agree on one of them with probability s, on a whole band of r rows with s^r, and on at least one of b bands
with 1 - (1 - s^r)^b. Only a 64-bit key per band is stored: 8 bytes instead of 4 r.

References: Broder, On the resemblance and containment of documents (1997); Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, sections 3.3 and 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptoss.text.arrays import Hashes, Integers
from gptoss.text.mixing import mix


@dataclass(frozen=True)
class Permutations:
    """x -> (multiply * x + add) mod 2^32, with uint32 [bands, rows] of each factor.

    Odd factors are invertible modulo 2^32, which makes each function a permutation. Modulo 2^32 instead of a prime:
    no division, and sixteen of them per AVX-512 instruction.
    """

    multiply: npt.NDArray[np.uint32]
    add: npt.NDArray[np.uint32]

    @classmethod
    def from_seed(cls, seed: int, bands: int, rows: int) -> Permutations:
        """The permutations of a seed: the same on every machine and with every version of NumPy, whose generators make
        no such promise."""
        # The seed selects 2^32 consecutive counters, so that different seeds never use the same ones.
        counters = np.arange(2 * bands * rows, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32))
        multiply, add = (mix(counters) >> np.uint64(32)).astype(np.uint32).reshape(2, bands, rows)
        # Even factors would map different numbers to the same one.
        return cls(multiply | np.uint32(1), add)


def band_keys(word_hashes: Hashes, offsets: Integers, ngram: int, permutations: Permutations) -> Hashes:
    """The key of each band of each text, uint64 [texts, bands], over shingles of `ngram` words.

    The words of text i are `word_hashes[offsets[i]:offsets[i + 1]]`. A text shorter than `ngram` words is one shingle;
    a text without words gets key 0 in every band.
    """
    from gptoss.text.kernels.hashing import minhash_band_keys

    bands, rows = permutations.multiply.shape
    # The kernel leaves the keys of texts without words as they are: zero.
    keys = np.zeros((len(offsets) - 1, bands), dtype=np.uint64)
    flat = permutations.multiply.ravel(), permutations.add.ravel()
    minhash_band_keys(word_hashes, offsets, ngram, *flat, rows, keys)
    return keys
