"""Arrays for tests of deduplication."""

from __future__ import annotations

import numpy as np


def numbers(*values: int) -> np.ndarray:
    """uint64 [values]."""
    return np.array(values, dtype=np.uint64)


def pairs_of(packed: np.ndarray) -> list[tuple[int, int]]:
    """Pairs that are packed as preferred << 32 | other."""
    return [(pair >> 32, pair & 0xFFFFFFFF) for pair in packed.tolist()]
