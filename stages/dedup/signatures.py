"""One row a document: what duplicates are found by. Written as Parquet, so that later steps read single columns.

`id`, `bytes` (UTF-8 length of the text), `exact_high` and `exact_low` (128-bit BLAKE2b of the normalised text) and
`band_00` … (64-bit MinHash band keys; 0 for a text without words).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.batches import TableFiles
from stages.dedup.minhash import Permutations, band_keys
from stages.dedup.shingles import shingle
from stages.dedup.words import Hashes, Words, find_words, utf8_bytes


def schema(bands: int) -> pa.Schema:
    """Columns of a signature table."""
    numbers = ["exact_high", "exact_low", *(band_name(band) for band in range(bands))]
    return pa.schema([("id", pa.large_string()), ("bytes", pa.int64()), *((name, pa.uint64()) for name in numbers)])


def band_name(band: int) -> str:
    """Column of one band's keys."""
    return f"band_{band:02d}"


def sign(batch: pa.RecordBatch, ngram: int, permutations: Permutations) -> pa.RecordBatch:
    """The signatures of a batch with columns `id` and `text`; pure, row by row."""
    texts = batch.column("text").cast(pa.large_string())
    words = find_words(texts)
    keys = band_keys(shingle(words, ngram), permutations)
    exact = exact_keys(texts, words)
    columns = [
        batch.column("id").cast(pa.large_string()),
        pc.binary_length(texts),
        *(pa.array(exact[:, half]) for half in range(2)),
        *(pa.array(keys[:, band]) for band in range(keys.shape[1])),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema(keys.shape[1]))


def exact_keys(texts: pa.Array, words: Words) -> Hashes:
    """128-bit BLAKE2b of each normalised text, uint64 [texts, 2]; of the text itself where it has no words."""
    compared = pc.if_else(pa.array(words.counts > 0), words.normalised(), texts)
    data, bounds = utf8_bytes(compared)
    raw = np.ascontiguousarray(data).data
    spans = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    digests = b"".join(blake2b(raw[start:end], digest_size=16).digest() for start, end in spans)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2)


def write_signatures(path: Path, batches: Iterable[pa.RecordBatch], ngram: int, permutations: Permutations) -> int:
    """Sign a stream of documents into one Parquet file; returns how many documents there were."""
    bands = permutations.multiply.shape[0]
    with TableFiles(lambda _: path, schema(bands), rows_per_file=2**62) as table:
        for batch in batches:
            table.write(sign(batch, ngram, permutations))
    return table.rows


def read_signatures(paths: Iterable[Path], columns: list[str]) -> pa.Table:
    """Some columns of the signature tables, in the order of the paths."""
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths]).combine_chunks()
