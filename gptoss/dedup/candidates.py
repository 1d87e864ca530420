"""From signatures to exact duplicates and to candidate pairs of near duplicates.

A task processes the documents whose keys lie in one range of keys, so that memory is bounded for any number of
documents. The number of pairs per bucket (documents with the same key) is bounded too: boilerplate that a million
documents share must not yield 10^12 pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.corpus import NEW_BIT, Corpus, load_corpus
from gptoss.executor.tasks import Result
from gptoss.text.arrays import NO_HASHES, Flags, Hashes, Integers

# Each document of a bucket is paired with this many documents before it (in buckets up to this size: with all) and with
# the best document of the bucket, which finds the duplicates of large buckets.
MAX_NEIGHBOURS = 64
# In one range of keys: about half a gigabyte of numbers while they are sorted.
DOCUMENTS_PER_RANGE = 8 * 2**20


def range_bits(documents: int) -> int:
    """How many leading bits of a key select its range, so that each has about `DOCUMENTS_PER_RANGE` documents."""
    return max(0, (documents - 1) // DOCUMENTS_PER_RANGE).bit_length()


def find_exact_duplicates(corpus: str, bits: int, key_range: int, target: str) -> Result:
    """Task: the new documents with an exact key in the range whose words another, preferred document has too.
    Writes uint64 [duplicates, 2]: the duplicate and the preferred document."""
    documents = load_corpus(corpus)
    (high, low), ranks, positions = _read_key_range(documents, ["exact_high", "exact_low"], bits, key_range)
    duplicates, preferred = exact_duplicates(high, low, ranks, positions)
    new = duplicates < documents.new_documents
    _write(Path(target), np.stack((duplicates[new], preferred[new]), axis=1))
    return {"duplicates": int(new.sum())}


def find_candidate_pairs(corpus: str, band: str, bits: int, key_range: int, eligible: str, target: str) -> Result:
    """Task: the pairs of documents that share a key of one band in the range, among the documents flagged in the file
    `eligible` (uint8 [documents]). Writes uint64 [pairs], packed and sorted."""
    flags = np.fromfile(eligible, dtype=np.bool_)
    (keys,), ranks, positions = _read_key_range(load_corpus(corpus), [band], bits, key_range, flags)
    pairs = candidate_pairs(keys, ranks, positions)
    _write(Path(target), pairs)
    return {"pairs": len(pairs)}


def _read_key_range(
    corpus: Corpus, names: Sequence[str], bits: int, key_range: int, eligible: Flags | None = None
) -> tuple[list[Hashes], Hashes, Hashes]:
    """Keys, ranks and positions of the documents whose first key is in the range."""
    pieces: list[list[Hashes]] = [[NO_HASHES] for _ in range(len(names) + 2)]
    for position, batch in corpus.read_columns([*names, "rank"]):
        columns = [np.asarray(column, dtype=np.uint64) for column in batch.columns]
        # Keys are hashes, so ranges of equal width contain about equally many documents.
        inside = columns[0] >> np.uint64(64 - bits) == key_range if bits else np.ones(batch.num_rows, dtype=np.bool_)
        if eligible is not None:
            # Band key 0 means a text without words, which has no near duplicates.
            inside &= (columns[0] != 0) & eligible[position : position + batch.num_rows]
        rows = np.flatnonzero(inside)
        if position < corpus.new_documents:
            columns[-1] = columns[-1] | NEW_BIT
        for piece, values in zip(pieces, [*(column[rows] for column in columns), rows + position], strict=True):
            piece.append(values.astype(np.uint64, copy=False))
    *keys, ranks, positions = [np.concatenate(piece) for piece in pieces]
    return keys, ranks, positions


def exact_duplicates(high: Hashes, low: Hashes, ranks: Hashes, positions: Hashes) -> tuple[Hashes, Hashes]:
    """Documents whose 128-bit key a preferred document has too, and for each that preferred document.
    The lowest rank is preferred, then the lowest position."""
    # Sorted by key and then by preference, the first row of each key is the preferred document. The lower half of the
    # key is needed only to tell apart the rows that agree on the upper one.
    rows = _rows_with_repeated_keys(high)
    order = rows[np.lexsort((positions[rows], ranks[rows], low[rows], high[rows]))]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    preferred = order[np.flatnonzero(first)][np.cumsum(first) - 1]
    return positions[order[~first]], positions[preferred[~first]]


def candidate_pairs(keys: Hashes, ranks: Hashes, positions: Hashes) -> Hashes:
    """Distinct pairs of documents with the same key, packed as preferred << 32 | other, sorted.

    The lowest rank is preferred, then the lowest position. Two known documents are not paired: the run that kept both
    has compared them.
    """
    rows = _rows_with_repeated_keys(keys)
    order = rows[np.lexsort((positions[rows], ranks[rows], keys[rows]))]
    keys, documents, new = keys[order], positions[order], ranks[order] >= NEW_BIT
    pairs = [NO_HASHES]
    # Buckets are runs of equal keys now. All buckets are paired at once, by their distance in the run.
    for distance in range(1, MAX_NEIGHBOURS + 1):
        same_bucket = keys[distance:] == keys[:-distance]
        if not same_bucket.any():
            break
        left = np.flatnonzero(same_bucket & new[distance:])
        # One number per pair: NumPy sorts and deduplicates these many times as fast as rows of two numbers.
        pairs.append(documents[left] << np.uint64(32) | documents[left + distance])
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.append(starts, len(keys)))
    # The best document of a large bucket is out of reach for most of its documents. A loop, as such buckets are few.
    large = sizes > MAX_NEIGHBOURS
    for start, end in zip(starts[large].tolist(), (starts + sizes)[large].tolist(), strict=True):
        others = documents[start + 1 : end][new[start + 1 : end]]
        pairs.append(documents[start] << np.uint64(32) | others)
    return np.unique(np.concatenate(pairs))


def _rows_with_repeated_keys(keys: Hashes) -> Integers:
    """Most keys occur once: sorting the keys alone and dropping these leaves few rows to sort by several columns."""
    order = np.argsort(keys)
    same = keys[order][1:] == keys[order][:-1]
    repeated = np.zeros(len(keys), dtype=np.bool_)
    repeated[1:] |= same
    repeated[:-1] |= same
    return np.sort(order[repeated])


def _write(path: Path, values: Hashes) -> None:
    # Raw little-endian numbers and not .npy: `verify_pairs` maps the files and searches in them without a header.
    with atomic_file(path) as partial:
        values.astype("<u8", copy=False).tofile(partial)
