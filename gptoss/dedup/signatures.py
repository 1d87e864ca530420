"""Signatures: one row per document, by which duplicates are found. Parquet, so that later steps read single columns.

Columns: `id`; `bytes` (UTF-8 length of the text); `rank` (order of preference); `exact_high` and `exact_low` (128-bit
hash of the normalised text); `band_00` … (64-bit MinHash band keys, 0 for a text without words). Band keys are stored
and not MinHash values: candidates need equality of whole bands only.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.minhash import Permutations, band_keys
from gptoss.executor.tasks import Result
from gptoss.tables.batches import part_batches
from gptoss.text.arrays import Hashes, Integers, uint64_at_every_byte, utf8_bytes
from gptoss.text.normalize import ScratchBuffers, Words, find_words

# One write per batch of documents would make groups of some hundred rows, which are slow to read by column.
_ROWS_PER_GROUP = 65_536
# The rank holds 31 bits of length and eight hexadecimal digits of the id below its highest bit (corpus.NEW_BIT).
_MAX_LENGTH = np.uint64(2**31 - 1)
_ID_DIGITS = 8


def band_name(band: int) -> str:
    """Column name of the keys of one band."""
    return f"band_{band:02d}"


def signature_schema(bands: int) -> pa.Schema:
    """Columns of a signature table."""
    numbers = ["rank", "exact_high", "exact_low", *(band_name(band) for band in range(bands))]
    return pa.schema([("id", pa.large_string()), ("bytes", pa.int64()), *((name, pa.uint64()) for name in numbers)])


def signature_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Without compression, dictionaries and statistics: hashes do not compress, and their ranges exclude nothing."""
    return pq.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_statistics=False)


def write_signatures(part: str, ngram: int, bands: int, rows: int, seed: int, target: str) -> Result:
    """Task: compute the signatures of the documents of a part."""
    permutations = Permutations.from_seed(seed, bands, rows)
    schema = signature_schema(bands)
    documents = 0
    with atomic_file(Path(target)) as partial, signature_writer(partial, schema) as table:
        pending: list[pa.RecordBatch] = []
        scratch = ScratchBuffers()
        for batch in part_batches(Path(part), ["id", "text"]):
            pending.append(signatures(batch, ngram, permutations, scratch))
            documents += batch.num_rows
            if sum(group.num_rows for group in pending) >= _ROWS_PER_GROUP:
                table.write_table(pa.Table.from_batches(pending, schema))
                pending = []
        table.write_table(pa.Table.from_batches(pending, schema))
    return {"documents": documents}


def signatures(
    batch: pa.RecordBatch, ngram: int, permutations: Permutations, scratch: ScratchBuffers | None = None
) -> pa.RecordBatch:
    """The signatures of documents (columns `id` and `text`). The result does not refer to memory of `scratch`."""
    texts = batch.column("text").cast(pa.large_string())
    words = find_words(texts, scratch=scratch)
    keys = band_keys(words.hashes, words.offsets, ngram, permutations)
    exact = exact_keys(texts, words)
    ids = batch.column("id").cast(pa.large_string())
    sizes = pc.binary_length(texts)
    # All columns but `id` are numbers, which makes a later read of one column a copy of bytes.
    numbers = [document_ranks(ids, sizes.to_numpy()), *exact.T, *keys.T]
    columns = [ids, sizes, *(pa.array(column) for column in numbers)]
    return pa.RecordBatch.from_arrays(columns, schema=signature_schema(keys.shape[1]))


def exact_keys(texts: pa.Array, words: Words) -> Hashes:
    """128-bit hash of each normalised text, uint64 [texts, 2]; of the original text if it contains no words."""
    from gptoss.text.kernels.hashing import text_digests

    keys = np.zeros((len(texts), 2), dtype=np.uint64)
    text_digests(words.texts, uint64_at_every_byte(words.texts), words.bounds, keys)
    # All texts without words have the same normalised text (none), but "?!" and "…" are not duplicates.
    original, bounds = utf8_bytes(texts)
    for text in np.flatnonzero(np.diff(words.bounds) == 0).tolist():
        digest = blake2b(original.data[bounds[text] : bounds[text + 1]], digest_size=16).digest()
        keys[text] = np.frombuffer(digest, dtype="<u8")
    return keys


def document_ranks(ids: pa.Array, sizes: Integers) -> Hashes:
    """Order of preference of each document, uint64 below 2^63, lowest first: the longest text, then the lowest id (by
    its first eight characters as hexadecimal digits). Independent of the order of the input."""
    # Digit by digit over all documents: int(id, 16) in Python would take a microsecond per document.
    data, bounds = utf8_bytes(ids)
    padded = np.concatenate((data, np.zeros(_ID_DIGITS, dtype=np.uint8)))
    lengths = np.diff(bounds)
    prefix = np.zeros(len(ids), dtype=np.uint64)
    for digit in range(_ID_DIGITS):
        character = np.where(digit < lengths, padded[bounds[:-1] + digit], 0)
        # ASCII to hexadecimal value: the low four bits, plus 9 for letters (which have bit 6 set).
        prefix = prefix << np.uint64(4) | ((character & 15) + 9 * (character >> 6) & 15).astype(np.uint64)
    return _MAX_LENGTH - np.minimum(sizes.astype(np.uint64), _MAX_LENGTH) << np.uint64(32) | prefix
