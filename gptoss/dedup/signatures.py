"""One row a document: what duplicates are found by. Written as Parquet, so that later steps read single columns.

`id`, `bytes` (UTF-8 length of the text), `rank` (place in the order of preference), `exact_high` and `exact_low`
(128 bits of the normalised text) and `band_00` … (64-bit MinHash band keys; 0 for a text without words).
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.minhash import Permutations, band_keys
from gptoss.executor.tasks import Result
from gptoss.tables.batches import part_batches
from gptoss.text.normalize import Hashes, Scratch, Words, eights, find_words, utf8_bytes, word_hashes

ROWS_PER_GROUP = 65_536


def schema(bands: int) -> pa.Schema:
    """Columns of a signature table."""
    numbers = ["rank", "exact_high", "exact_low", *(band_name(band) for band in range(bands))]
    return pa.schema([("id", pa.large_string()), ("bytes", pa.int64()), *((name, pa.uint64()) for name in numbers)])


def band_name(band: int) -> str:
    """Column of one band's keys."""
    return f"band_{band:02d}"


def sign(
    batch: pa.RecordBatch, ngram: int, permutations: Permutations, scratch: Scratch | None = None
) -> pa.RecordBatch:
    """The signatures of a batch with columns `id` and `text`; row by row, and nothing of it is in `scratch`."""
    texts = batch.column("text").cast(pa.large_string())
    words = find_words(texts, scratch=scratch)
    keys = band_keys(word_hashes(words), words.offsets, ngram, permutations)
    exact = exact_keys(texts, words)
    ids = batch.column("id").cast(pa.large_string())
    sizes = pc.binary_length(texts)
    columns = [
        ids,
        sizes,
        pa.array(document_ranks(ids, sizes.to_numpy())),
        *(pa.array(exact[:, half]) for half in range(2)),
        *(pa.array(keys[:, band]) for band in range(keys.shape[1])),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema(keys.shape[1]))


def exact_keys(texts: pa.Array, words: Words) -> Hashes:
    """128 bits of each normalised text, uint64 [texts, 2]; BLAKE2b of the text itself where it has no words."""
    from gptoss.text import kernels

    keys = np.zeros((len(texts), 2), dtype=np.uint64)
    kernels.digests(words.texts, eights(words.texts), words.bounds, keys)
    given, places = utf8_bytes(texts)
    for text in np.flatnonzero(np.diff(words.bounds) == 0).tolist():
        digest = blake2b(given.data[places[text] : places[text + 1]], digest_size=16).digest()
        keys[text] = np.frombuffer(digest, dtype="<u8")
    return keys


def write_signatures(part: str, ngram: int, bands: int, rows: int, seed: int, target: str) -> Result:
    """A task: sign the documents of a part."""
    permutations = Permutations.seeded(seed, bands, rows)
    columns = schema(bands)
    documents = 0
    with atomic_file(Path(target)) as partial, signature_writer(partial, columns) as table:
        pending: list[pa.RecordBatch] = []
        scratch = Scratch()
        for batch in part_batches(Path(part), ["id", "text"]):
            pending.append(sign(batch, ngram, permutations, scratch))
            documents += batch.num_rows
            if sum(signed.num_rows for signed in pending) >= ROWS_PER_GROUP:
                table.write_table(pa.Table.from_batches(pending, columns))
                pending = []
        table.write_table(pa.Table.from_batches(pending, columns))
    return {"documents": documents}


def signature_writer(path: Path, columns: pa.Schema) -> pq.ParquetWriter:
    """Hashes do not compress: they are written as they are."""
    return pq.ParquetWriter(path, columns, compression="none", use_dictionary=False, write_statistics=False)


def document_ranks(ids: pa.Array, sizes: npt.NDArray[np.int64]) -> Hashes:
    """Place of each document in the order of preference, uint64 below 2^63, lowest first: the longest text, then the
    lowest id (by its first eight characters, taken as hexadecimal digits)."""
    data, bounds = utf8_bytes(ids)
    padded = np.concatenate((data, np.zeros(_ID_DIGITS, dtype=np.uint8)))
    lengths = np.diff(bounds)
    prefix = np.zeros(len(ids), dtype=np.uint64)
    for digit in range(_ID_DIGITS):
        character = np.where(digit < lengths, padded[bounds[:-1] + digit], 0)
        prefix = prefix << np.uint64(4) | ((character & 15) + 9 * (character >> 6) & 15).astype(np.uint64)
    longest = np.uint64(2**31 - 1)
    return longest - np.minimum(sizes.astype(np.uint64), longest) << np.uint64(32) | prefix


_ID_DIGITS = 8
