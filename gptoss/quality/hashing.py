"""64-bit hashes of strings, and membership in a sorted array of them."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


def hash64(text: str) -> int:
    """64 bits of BLAKE2b."""
    # Not `hash`, which differs between processes. Among 10^7 domains, more than public block lists hold, two collide
    # with a probability of 3e-6.
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def is_member(keys: Hashes, sorted_keys: Hashes) -> npt.NDArray[np.bool_]:
    """Which of `keys` occur in `sorted_keys`, bool [keys]."""
    # np.isin would sort both arrays again for every batch.
    if len(sorted_keys) == 0:
        return np.zeros(len(keys), dtype=np.bool_)
    positions = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.asarray(sorted_keys[positions] == keys)
