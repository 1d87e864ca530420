"""Which documents the tokenizer is trained on: a seeded sample of at most `tokenizer.sample_bytes`.

A document's place in the sample is decided by a hash of (seed, its id) alone, so neither the order of the
files nor the other documents matter; the documents are then read in the order of the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.core.errors import DataError, UserError
from gptoss.tables.documents import read_batches

ROWS = 64
"""Documents in one batch: some are whole books, so few are held at a time."""
AT_ONCE = 1 << 16
"""Documents of which those that cannot fit any more are left out at once."""


@dataclass(frozen=True)
class Sample:
    """The chosen rows of a folder of documents, read again each time it is iterated."""

    folder: Path
    chosen: npt.NDArray[np.bool_]
    bytes: int
    """UTF-8 bytes of text."""

    @property
    def documents(self) -> int:
        """How many documents were chosen."""
        return int(self.chosen.sum())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Each chosen text and its source."""
        row = 0
        for batch in read_batches(self.folder, ["text", "source"], rows=ROWS):
            here = batch.filter(pa.array(self.chosen[row : row + batch.num_rows]))
            row += batch.num_rows
            yield from zip(here["text"].to_pylist(), here["source"].to_pylist(), strict=True)


def choose(folder: Path, seed: int, sample_bytes: int) -> Sample:
    """Take documents in the order of their hash, leaving out each that no longer fits into `sample_bytes`.

    Raises `DataError` when there is no text, `UserError` when no single document fits.
    """
    keys, sizes = _keys_and_sizes(folder, seed)
    if not sizes.any():
        raise DataError(
            f"{folder} holds {len(sizes)} documents with 0 bytes of text",
            "see `dvc metrics show` for what the earlier stages removed, and loosen `curate` or add sources",
        )
    smallest = int(sizes[sizes > 0].min())
    if smallest > sample_bytes:
        raise UserError(
            f"tokenizer.sample_bytes = {sample_bytes}: the smallest document has {smallest} bytes",
            f"set tokenizer.sample_bytes to {sizes.sum()} (all the text) or as much of it as memory allows",
        )
    chosen = np.zeros(len(keys), dtype=np.bool_)
    room = sample_bytes
    order = np.argsort(keys, kind="stable")
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        rows = rows[(sizes[rows] > 0) & (sizes[rows] <= room)]  # of a corpus that is larger than the sample, few
        for row, size in zip(rows.tolist(), sizes[rows].tolist(), strict=True):
            if size <= room:
                chosen[row] = True
                room -= size
    return Sample(folder, chosen, sample_bytes - room)


def _keys_and_sizes(folder: Path, seed: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Place in the order and UTF-8 bytes of every document: 16 bytes a document, whatever the length of the texts."""
    keys, sizes = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    for batch in read_batches(folder, ["id", "text"], rows=ROWS):
        ids = batch["id"].to_pylist()
        keys.append(np.fromiter((_order(seed, document) for document in ids), np.uint64, len(ids)))
        sizes.append(pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False).astype(np.int64))
    return np.concatenate(keys), np.concatenate(sizes)


def _order(seed: int, document: str) -> int:
    digest = hashlib.blake2b(f"tokenizer sample\0{seed}\0{document}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
