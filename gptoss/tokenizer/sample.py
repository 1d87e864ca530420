"""The documents that the tokenizer is trained on: a seeded random sample of at most `tokenizer.sample_bytes`.

Documents are drawn in the order of a hash of (seed, id), so the sample does not depend on the order of the files, and
one more document changes it little.

The validation split is not excluded: merges can be learned from its documents, token statistics cannot. Merges that
fit these documents shorten them, so held-out bits per byte can come out slightly too low; the effect was not measured.
It is accepted because the split is a small share of the text (`shards.validation_fraction`) and a merge needs a pair
that is frequent in the whole sample, and because the same tokenizer then serves any split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.core.errors import DataError, UserError
from gptoss.tables.documents import read_batches
from gptoss.tokenizer.seeded_hash import seeded_hash

# Some documents are whole books, so few are in memory at a time.
DOCUMENTS_PER_BATCH = 64
# Documents whose size is compared with the remaining bytes in one NumPy operation. Of a corpus much larger than the
# sample nearly all are excluded that way, and the Python loop sees few.
DOCUMENTS_PER_PASS = 1 << 16


@dataclass(frozen=True)
class TokenizerSample:
    """The drawn documents of a folder; iterating reads them from disk in the order of the files."""

    folder: Path
    is_drawn: npt.NDArray[np.bool_]
    """Shape (documents of the folder,)."""
    bytes: int
    """UTF-8 bytes of text."""

    @property
    def documents(self) -> int:
        """Number of drawn documents."""
        return int(self.is_drawn.sum())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield text and source of each document."""
        start = 0
        for batch in read_batches(self.folder, ["text", "source"], rows=DOCUMENTS_PER_BATCH):
            drawn = batch.filter(pa.array(self.is_drawn[start : start + batch.num_rows]))
            start += batch.num_rows
            yield from zip(drawn["text"].to_pylist(), drawn["source"].to_pylist(), strict=True)


def draw_sample(folder: Path, seed: int, sample_bytes: int) -> TokenizerSample:
    """Draw documents in the order of their hash, skipping each that no longer fits into `sample_bytes`.

    Errors: `DataError` when there is no text, `UserError` when not even the smallest document fits.
    """
    hashes, sizes = _hashes_and_sizes(folder, seed)
    if not sizes.any():
        raise DataError(
            f"{folder} holds {len(sizes)} documents with 0 bytes of text",
            "see `dvc metrics show` for what the earlier stages removed, and loosen `curate` or add sources",
        )
    smallest = int(sizes[sizes > 0].min())
    if smallest > sample_bytes:
        raise UserError(
            f"tokenizer.sample_bytes = {sample_bytes}: the smallest document has {smallest} bytes",
            f"set tokenizer.sample_bytes to {sizes.sum()} (all the text) or to as much of it as memory allows",
        )
    is_drawn = np.zeros(len(hashes), dtype=np.bool_)
    remaining = sample_bytes
    order = np.argsort(hashes, kind="stable")  # stable: equal hashes keep the order of the files
    for start in range(0, len(order), DOCUMENTS_PER_PASS):
        numbers = order[start : start + DOCUMENTS_PER_PASS]
        numbers = numbers[(sizes[numbers] > 0) & (sizes[numbers] <= remaining)]
        # `remaining` shrinks inside the pass, so every candidate is compared once more.
        for number, size in zip(numbers.tolist(), sizes[numbers].tolist(), strict=True):
            if size <= remaining:
                is_drawn[number] = True
                remaining -= size
    return TokenizerSample(folder, is_drawn, sample_bytes - remaining)


def _hashes_and_sizes(folder: Path, seed: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return hash and UTF-8 bytes of every document: 16 bytes of memory per document, however long the texts are."""
    hashes, sizes = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    for batch in read_batches(folder, ["id", "text"], rows=DOCUMENTS_PER_BATCH):
        ids = batch["id"].to_pylist()
        hashes.append(np.fromiter((sample_hash(seed, document_id) for document_id in ids), np.uint64, len(ids)))
        sizes.append(pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False).astype(np.int64))
    return np.concatenate(hashes), np.concatenate(sizes)


def sample_hash(seed: int, document_id: str) -> int:
    """Return the position of a document in the random order, as a 64-bit integer."""
    return seeded_hash("tokenizer sample", seed, document_id)
