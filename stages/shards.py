"""Turn the clean documents into files of token ids.

In: `data/clean`, `data/tokenizer`. Out, in `data/shards`: `train-00000.bin` … and `validation-00000.bin` …
(flat little-endian token ids, each document as `<|endoftext|>` and its tokens; the documents of a source stand
together), `documents-SPLIT.parquet` (where each document begins), `index.json` (sizes, checksums, counts and first
token of each source). Read them with `gptoss.tables.token_files.TokenSplit`.

A document is held out for validation by a hash of (seed, its id), so that it stays held out when other
documents come or go. Text is never parsed for control tokens: "<|im_end|>" in a document is spelled out.

What can go wrong: too few documents for both splits; documents that are not in order of source; a tokenizer larger
than the padded vocabulary; a full disk. The folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder, read_json, sha256_file, write_json
from gptoss.core.errors import DataError, UserError
from gptoss.core.progress import progress
from gptoss.tables.documents import read_batches
from gptoss.tables.token_files import INDEX, Split, token_dtype
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_BYTES = 4_000_000
"""UTF-8 bytes encoded at a time, so that memory does not grow with the corpus."""
ROWS = 64
SPLITS: tuple[Split, ...] = ("train", "validation")

PLACES = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),
        ("offset", pa.int64()),
    ]
)
"""A document of a split: its tokens (separator included), UTF-8 bytes, and first token in the split."""


def shards(settings: Settings, run: StageRun) -> Metrics:
    """Encode every document once and write it to its split."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # this process forks nothing, and the result is the same
    documents = check_splits(paths.CLEAN, settings)
    tokenizer, separator = load_tokenizer(paths.TOKENIZER, settings)
    vocab_size = settings.tokenizer.padded_vocab_size
    encoded = encode(paths.CLEAN, tokenizer, separator, token_dtype(vocab_size))
    with atomic_folder(paths.SHARDS) as folder:
        written = {split: SplitWriter(folder, split, settings.shards.tokens_per_shard) for split in SPLITS}
        for document in progress(encoded, "shards", total=documents, unit="documents"):
            written[split_of(document.id, settings)].add(document)
        splits = {split: writer.close() for split, writer in written.items()}
        index = {
            "dtype": token_dtype(vocab_size).name,
            "vocab_size": vocab_size,
            "tokenizer_sha256": sha256_file(paths.TOKENIZER / "tokenizer.json"),
            "splits": splits,
        }
        write_json(folder / INDEX, index)
    return {split: _counts(entry) for split, entry in splits.items()}


def split_of(document: str, settings: Settings) -> Split:
    """The split of a document id: a uniform hash of (seed, id) below `validation_fraction` is held out."""
    digest = hashlib.blake2b(f"split\0{settings.seed}\0{document}".encode(), digest_size=8).digest()
    held_out = int.from_bytes(digest, "little") < settings.shards.validation_fraction * 2**64
    return "validation" if held_out else "train"


def check_splits(folder: Path, settings: Settings) -> int:
    """How many documents there are. Raises `DataError` before any work when a split would be empty, or when the
    documents of a source do not stand together."""
    count = dict.fromkeys(SPLITS, 0)
    sources: list[str] = []
    for batch in read_batches(folder, ["id", "source"]):
        for document in batch["id"].to_pylist():
            count[split_of(document, settings)] += 1
        sources += [source for source, _ in itertools.groupby(batch["source"].to_pylist())]
    order = [source for source, _ in itertools.groupby(sources)]
    if again := sorted(source for source, times in Counter(order).items() if times > 1):
        raise DataError(
            f"{folder}: the documents of {', '.join(again)} do not stand together, other sources lie between them",
            "run `dvc repro dedup decontaminate`, which keep the documents in order of source",
        )
    documents = sum(count.values())
    fraction = settings.shards.validation_fraction
    for split, share in zip(SPLITS, (1 - fraction, fraction), strict=True):
        if not count[split]:
            raise DataError(
                f"the {split} split is empty: {documents} documents * {share:g} = {documents * share:.2f} expected, "
                f"and seed {settings.seed} draws none",
                f"add documents (`sources`), set shards.validation_fraction to {3 / max(documents, 7):.3g} "
                "(3 documents expected), or change seed",
            )
    return documents


def load_tokenizer(folder: Path, settings: Settings) -> tuple[Tokenizer, int]:
    """The tokenizer, set to spell control tokens out, and the id of the document separator.

    Raises `UserError` when its ids do not fit the padded vocabulary.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist", "run `dvc repro tokenizer`")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    if (size := tokenizer.get_vocab_size()) > settings.tokenizer.padded_vocab_size:
        raise UserError(
            f"{path} has {size} tokens, more than tokenizer.vocab_size({settings.tokenizer.vocab_size}) padded to "
            f"a multiple of {settings.tokenizer.pad_to_multiple_of} = {settings.tokenizer.padded_vocab_size}",
            "run `dvc repro tokenizer`: the parameters changed after it was trained",
        )
    separator: int = tokenizer.token_to_id(read_json(folder / "tokenizer_config.json")["eos_token"])
    return tokenizer, separator


@dataclass(frozen=True)
class Encoded:
    """A document as token ids, shape (tokens,), its separator first."""

    id: str
    source: str
    bytes: int
    ids: npt.NDArray[Any]


def encode(folder: Path, tokenizer: Tokenizer, separator: int, dtype: np.dtype[Any]) -> Iterator[Encoded]:
    """Encode the documents in their order, about `BATCH_BYTES` of text at a time."""
    for rows in _by_bytes(folder):
        encodings = tokenizer.encode_batch_fast([row["text"] for row in rows], add_special_tokens=False)
        for row, encoding in zip(rows, encodings, strict=True):
            ids = np.array([separator, *encoding.ids], dtype=dtype)
            yield Encoded(row["id"], row["source"], len(row["text"].encode()), ids)


def _by_bytes(folder: Path) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    size = 0
    for batch in read_batches(folder, ["id", "source", "text"], rows=ROWS):
        for row in batch.to_pylist():
            rows.append(row)
            size += len(row["text"])
            if size >= BATCH_BYTES:
                yield rows
                rows, size = [], 0
    if rows:
        yield rows


@dataclass
class SplitWriter:
    """Appends documents to the shard files of one split; a document may go on in the next file."""

    folder: Path
    split: Split
    tokens_per_shard: int
    tokens: int = 0
    documents: int = 0
    bytes: int = 0
    sources: dict[str, dict[Literal["start", "documents", "tokens", "bytes"], int]] = field(default_factory=dict)
    _shards: list[dict[str, Any]] = field(default_factory=list)
    _stream: BinaryIO | None = None
    _digest: Any = None
    _places: list[dict[str, Any]] = field(default_factory=list)
    _table: Any = None

    def add(self, document: Encoded) -> None:
        """Append one document."""
        place = {"id": document.id, "source": document.source, "tokens": len(document.ids), "bytes": document.bytes}
        self._place({**place, "offset": self.tokens})
        empty: dict[Literal["start", "documents", "tokens", "bytes"], int]
        empty = {"start": self.tokens, "documents": 0, "tokens": 0, "bytes": 0}
        of_source = self.sources.setdefault(document.source, empty)
        of_source["documents"] += 1
        of_source["tokens"] += len(document.ids)
        of_source["bytes"] += document.bytes
        self.documents += 1
        self.tokens += len(document.ids)
        self.bytes += document.bytes
        self._append(document.ids)

    def close(self) -> dict[str, Any]:
        """Finish the files; returns the split's entry of the index."""
        self._finish_shard()
        self._flush_places()
        self._table.close()
        return {
            "shards": self._shards,
            "tokens": self.tokens,
            "documents": self.documents,
            "bytes": self.bytes,
            "sources": self.sources,
        }

    def _append(self, ids: npt.NDArray[Any]) -> None:
        while len(ids):
            if self._stream is None:
                name = f"{self.split}-{len(self._shards):05d}.bin"
                self._shards.append({"file": name, "tokens": 0})
                self._stream = open(self.folder / name, "wb")  # noqa: SIM115 (closed when the shard is full)
                self._digest = hashlib.sha256()
            shard = self._shards[-1]
            part, ids = np.split(ids, [self.tokens_per_shard - shard["tokens"]])
            self._stream.write(part.tobytes())
            self._digest.update(part.tobytes())
            shard["tokens"] += len(part)
            if shard["tokens"] == self.tokens_per_shard:
                self._finish_shard()

    def _finish_shard(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._shards[-1]["sha256"] = self._digest.hexdigest()

    def _place(self, row: dict[str, Any]) -> None:
        self._places.append(row)
        if len(self._places) == 16_384:
            self._flush_places()

    def _flush_places(self) -> None:
        if self._table is None:
            path = self.folder / f"documents-{self.split}.parquet"
            self._table = pq.ParquetWriter(path, PLACES, compression="zstd")
        if self._places:
            self._table.write_table(pa.Table.from_pylist(self._places, schema=PLACES))
            self._places = []


def _counts(entry: dict[str, Any]) -> dict[str, Any]:
    """Counts of a split, and UTF-8 bytes of text for each token (separators counted as tokens)."""
    counts = {key: entry[key] for key in ("tokens", "documents", "bytes")}
    counts["bytes_per_token"] = entry["bytes"] / entry["tokens"]
    counts["sources"] = {
        source: {
            **{key: of_source[key] for key in ("documents", "tokens", "bytes")},
            "bytes_per_token": of_source["bytes"] / of_source["tokens"],
        }
        for source, of_source in sorted(entry["sources"].items())
    }
    return counts


if __name__ == "__main__":
    run_stage(shards, "shards")
