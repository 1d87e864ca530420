"""Measure the exact Jaccard similarity of candidate pairs; those that reach the threshold become edges.

MinHash only suggests pairs: at 14 bands of 8 rows every fifth pair of similarity 0.6 shares a band. Each pair is
therefore compared by its shingle sets before it counts, and the similarity that is reported was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.corpus import load_corpus
from gptoss.dedup.shingle_sets import ShingleSets
from gptoss.executor.tasks import Result
from gptoss.text.arrays import NO_HASHES, Flags, Floats, Hashes, Integers, offsets_of

PAIRS_PER_TASK = 2**18
MIN_PAIRS_PER_TASK = 2**11
# Where there are enough pairs. With many small tasks all cores finish at about the same time.
MIN_TASKS = 32
# Task limits are quantiles of a sample of the pairs, one in this many: they need not be exact.
_SAMPLING = 64
_PAIRS_PER_READ = _SAMPLING * 2**12
# Sets in memory at a time. Pairs are sorted by their preferred document, so a group shares many of its sets.
GROUP_BYTES = 32 * 2**20
MAX_GROUP_PAIRS = 8192


def plan_verification(files: Sequence[str], documents: int) -> tuple[Flags, list[int]]:
    """One pass over all pairs in `files`: which documents are in a pair, bool [documents], and the (packed) pairs at
    which they are divided into tasks of about `PAIRS_PER_TASK`, or fewer when there are few pairs."""
    # Sampled and not read as a whole: the pairs of a large corpus do not fit into memory.
    paired = np.zeros(documents, dtype=np.bool_)
    samples = [NO_HASHES]
    for file in files:
        with open(file, "rb") as stream:
            while len(pairs := np.fromfile(stream, dtype="<u8", count=_PAIRS_PER_READ)):
                paired[unpack_pairs(pairs)] = True
                samples.append(pairs[::_SAMPLING])
    sample = np.sort(np.concatenate(samples))
    pairs_per_task = min(PAIRS_PER_TASK, max(MIN_PAIRS_PER_TASK, _SAMPLING * len(sample) // MIN_TASKS))
    step = pairs_per_task // _SAMPLING
    return paired, [0, *np.unique(sample[step::step]).tolist(), 2**64 - 1]


def verify_pairs(corpus: str, pairs: Sequence[str], low: int, high: int, threshold: float, target: str) -> Result:
    """Task: compare the pairs (packed, in sorted files) from `low` up to, but without, `high`. Writes those whose
    Jaccard similarity is at least `threshold`: `edge` uint64 (packed) and `jaccard` float64."""
    # A pair that shares several bands is in several files.
    candidates = np.unique(np.concatenate([_read_between(Path(path), low, high) for path in pairs]))
    with ShingleSets(load_corpus(corpus)) as sets:
        edges, similarities = similar_pairs(candidates, sets, threshold)
    with atomic_file(Path(target)) as partial:
        pq.write_table(pa.table({"edge": edges, "jaccard": similarities}), partial)
    return {"pairs": len(candidates), "edges": len(edges)}


def similar_pairs(pairs: Hashes, sets: ShingleSets, threshold: float) -> tuple[Hashes, Floats]:
    """The pairs (packed, distinct) whose Jaccard similarity is at least `threshold`, and their similarities."""
    unpacked = unpack_pairs(pairs)
    documents, numbers = np.unique(unpacked, return_inverse=True)
    numbers = numbers.reshape(unpacked.shape)
    starts, sizes = sets.locate(documents)
    # J <= smaller size / larger size, so most pairs of very different lengths need not be read.
    smaller, larger = np.sort(sizes[numbers], axis=1).T
    possible = smaller >= threshold * larger
    pairs, numbers = pairs[possible], numbers[possible]
    groups = (jaccard_similarities(documents, starts, sizes, group, sets) for group in _groups(numbers, sizes))
    similarities = np.concatenate([np.zeros(0), *groups])
    similar = similarities >= threshold
    return pairs[similar], similarities[similar]


def jaccard_similarities(
    documents: Integers, starts: Integers, sizes: Integers, pairs: Integers, sets: ShingleSets
) -> Floats:
    """Exact similarities, float64 [pairs], of pairs int64 [pairs, 2] of indices into `documents`."""
    from gptoss.text.kernels.sets import intersection_sizes

    used, local_pairs = np.unique(pairs, return_inverse=True)
    hashes = sets.read(documents[used], starts[used], sizes[used])
    shared = np.zeros(len(pairs), dtype=np.int64)
    local_pairs = np.ascontiguousarray(local_pairs.reshape(pairs.shape))
    intersection_sizes(hashes, offsets_of(sizes[used]), local_pairs, shared)
    # Two texts without words have an empty union; they are not near duplicates.
    union = sizes[pairs].sum(axis=1) - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 0.0)


def _groups(pairs: Integers, sizes: Integers) -> Iterator[Integers]:
    """Consecutive pairs whose sets are in memory together: about `GROUP_BYTES`, and at least one pair."""
    start = 0
    while start < len(pairs):
        count = min(MAX_GROUP_PAIRS, len(pairs) - start)
        while count > 1 and 8 * int(sizes[np.unique(pairs[start : start + count])].sum()) > GROUP_BYTES:
            count //= 2
        yield pairs[start : start + count]
        start += count


def unpack_pairs(pairs: Hashes) -> Integers:
    """Pairs packed as preferred << 32 | other, as int64 [pairs, 2]."""
    return np.stack((pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)), axis=1).astype(np.int64)


def _read_between(path: Path, low: int, high: int) -> Hashes:
    """The numbers of a sorted file from `low` up to, but without, `high`."""
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return NO_HASHES
    # Mapped for the search only, which touches a few pages; the numbers themselves are read into own memory.
    values = np.memmap(path, dtype="<u8", mode="r")
    start, end = np.searchsorted(values, np.array([low, high], dtype=np.uint64))
    return np.fromfile(path, dtype="<u8", count=int(end - start), offset=8 * int(start))
