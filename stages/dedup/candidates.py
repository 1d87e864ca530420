"""From signatures to pairs of documents worth comparing. Documents are numbered by preference: 0 is the best.

The number of pairs a bucket yields is bounded, so that a phrase that a million documents share cannot blow up.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.dedup.words import Hashes, Integers

MAX_NEIGHBOURS = 64
"""In a bucket, each document is paired with so many documents before it (all, in buckets up to this size) and with the
bucket's best document."""


def preference(ids: pa.Array, sizes: pa.Array) -> Integers:
    """Positions of the documents from best to worst, int64 [documents]: the longest text first, then the lowest id.
    Documents with the same id and size are copies; the earlier one comes first."""
    table = pa.table({"id": ids, "bytes": sizes, "position": np.arange(len(ids))})
    keys = [("bytes", "descending"), ("id", "ascending"), ("position", "ascending")]
    return np.asarray(pc.sort_indices(table, sort_keys=keys), dtype=np.int64)


def exact_duplicates(high: Hashes, low: Hashes) -> Integers:
    """The best document with the same 128-bit key, int64 [documents]; -1 for that document itself."""
    order = np.lexsort((np.arange(len(high)), low, high))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    best = order[np.flatnonzero(first)][np.cumsum(first) - 1]
    partner = np.full(len(order), -1, dtype=np.int64)
    partner[order[~first]] = best[~first]
    return partner


def candidate_pairs(bands: Iterable[Hashes], eligible: npt.NDArray[np.bool_]) -> Integers:
    """Distinct pairs that share a key in some band, int64 [pairs, 2], better document first, sorted.

    `bands` yields uint64 [documents] keys, one band at a time, so that one band is in memory at once; only documents
    that are `eligible` and whose key is not 0 (a text without words) take part.
    """
    packed = np.zeros(0, dtype=np.uint64)
    for keys in bands:
        taking_part = np.flatnonzero(eligible & (keys != 0))
        packed = np.union1d(packed, _pairs_of_band(keys[taking_part], taking_part))
    return np.stack((packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)), axis=1).astype(np.int64)


def _pairs_of_band(keys: Hashes, documents: Integers) -> Hashes:
    """Pairs of one band, packed as better << 32 | worse."""
    order = np.argsort(keys, kind="stable")  # stable: within a bucket, better documents come first
    keys, documents = keys[order], documents[order].astype(np.uint64)
    pairs = []
    for distance in range(1, MAX_NEIGHBOURS + 1):
        same = np.flatnonzero(keys[distance:] == keys[:-distance])
        if len(same) == 0:
            break
        pairs.append(documents[same] << np.uint64(32) | documents[same + distance])
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.append(starts, len(keys)))
    for start, size in zip(
        starts[sizes > MAX_NEIGHBOURS].tolist(), sizes[sizes > MAX_NEIGHBOURS].tolist(), strict=True
    ):
        pairs.append(documents[start] << np.uint64(32) | documents[start + 1 : start + size])
    return np.concatenate(pairs) if pairs else np.zeros(0, dtype=np.uint64)
