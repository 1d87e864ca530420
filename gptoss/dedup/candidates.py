"""From signatures to copies and to pairs of documents worth comparing.

A task takes the documents whose key lies in one range of keys, so that memory is bounded however many documents there
are. The number of pairs a bucket yields is bounded too: a phrase that a million documents share cannot blow up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.corpus import NEW, Corpus, read_corpus
from gptoss.executor.tasks import Result
from gptoss.text.normalize import Hashes, Integers

MAX_NEIGHBOURS = 64
"""In a bucket, each document is paired with so many documents before it (all, in buckets up to this size) and with the
bucket's best document."""
ROWS_PER_TASK = 8 * 2**20
"""Documents of one range of keys: about half a gigabyte of numbers while they are sorted."""


def key_bits(documents: int) -> int:
    """How many leading bits of a key tell the ranges apart, so that each holds at most `ROWS_PER_TASK` documents."""
    return max(0, (documents - 1) // ROWS_PER_TASK).bit_length()


def find_copies(corpus: str, bits: int, part: int, target: str) -> Result:
    """A task: the copies among the new documents whose exact key begins with the `bits` bits of `part`.
    Writes uint64 [copies, 2]: the copy and the best document with the same words."""
    all_documents = read_corpus(corpus)
    (high, low), ranks, positions = _members(all_documents, ["exact_high", "exact_low"], bits, part)
    copies, best = exact_duplicates(high, low, ranks, positions)
    new = copies < all_documents.documents
    _write(Path(target), np.stack((copies[new], best[new]), axis=1))
    return {"copies": int(new.sum())}


def find_pairs(corpus: str, band: str, bits: int, part: int, eligible: str, target: str) -> Result:
    """A task: the pairs that share a key of one band that begins with the `bits` bits of `part`, among the documents
    marked in the file `eligible` (uint8 [documents]). Writes uint64 [pairs], packed and sorted."""
    all_documents = read_corpus(corpus)
    (keys,), ranks, positions = _members(all_documents, [band], bits, part, np.fromfile(eligible, dtype=np.bool_))
    pairs = candidate_pairs(keys, ranks, positions)
    _write(Path(target), pairs)
    return {"pairs": len(pairs)}


def _members(
    corpus: Corpus, names: Sequence[str], bits: int, part: int, eligible: npt.NDArray[np.bool_] | None = None
) -> tuple[list[Hashes], Hashes, Hashes]:
    """Keys, ranks and positions of the documents in a range of keys. Key 0 of a band is a text without words."""
    found: list[list[Hashes]] = [[np.zeros(0, dtype=np.uint64)] for _ in range(len(names) + 2)]
    for position, batch in corpus.columns([*names, "rank"]):
        columns = [np.asarray(column, dtype=np.uint64) for column in batch.columns]
        inside = columns[0] >> np.uint64(64 - bits) == part if bits else np.ones(batch.num_rows, dtype=np.bool_)
        if eligible is not None:
            inside &= (columns[0] != 0) & eligible[position : position + batch.num_rows]
        rows = np.flatnonzero(inside)
        if position < corpus.documents:
            columns[-1] = columns[-1] | NEW
        for values, column in zip(found, [*columns, None], strict=True):
            values.append((rows + position).astype(np.uint64) if column is None else column[rows])
    *keys, ranks, positions = [np.concatenate(values) for values in found]
    return keys, ranks, positions


def exact_duplicates(high: Hashes, low: Hashes, ranks: Hashes, positions: Hashes) -> tuple[Hashes, Hashes]:
    """Of documents with 128-bit keys: the copies, and for each the best document with its key. The lowest rank is
    best, then the lowest position."""
    rows = _repeated(high)
    order = rows[np.lexsort((positions[rows], ranks[rows], low[rows], high[rows]))]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    best = order[np.flatnonzero(first)][np.cumsum(first) - 1]
    return positions[order[~first]], positions[best[~first]]


def candidate_pairs(keys: Hashes, ranks: Hashes, positions: Hashes) -> Hashes:
    """Distinct pairs of documents with the same key, packed as better << 32 | worse, sorted. The lowest rank is best,
    then the lowest position. Two known documents make no pair."""
    rows = _repeated(keys)
    order = rows[np.lexsort((positions[rows], ranks[rows], keys[rows]))]
    keys, documents, new = keys[order], positions[order], ranks[order] >= NEW
    pairs = []
    for distance in range(1, MAX_NEIGHBOURS + 1):
        same = np.flatnonzero((keys[distance:] == keys[:-distance]) & new[distance:])
        if len(same) == 0 and not (keys[distance:] == keys[:-distance]).any():
            break
        pairs.append(documents[same] << np.uint64(32) | documents[same + distance])
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, dtype=np.int64)
    sizes = np.diff(np.append(starts, len(keys)))
    large = sizes > MAX_NEIGHBOURS
    for start, end in zip(starts[large].tolist(), (starts + sizes)[large].tolist(), strict=True):
        others = documents[start + 1 : end][new[start + 1 : end]]
        pairs.append(documents[start] << np.uint64(32) | others)
    return np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *pairs]))


def _repeated(keys: Hashes) -> Integers:
    """Rows whose key occurs more than once: most do not, and the fewer are sorted further."""
    order = np.argsort(keys)
    same = keys[order][1:] == keys[order][:-1]
    repeated = np.zeros(len(keys), dtype=np.bool_)
    repeated[1:] |= same
    repeated[:-1] |= same
    return np.sort(order[repeated])


def _write(path: Path, values: Hashes) -> None:
    with atomic_file(path) as partial:
        values.astype("<u8", copy=False).tofile(partial)
