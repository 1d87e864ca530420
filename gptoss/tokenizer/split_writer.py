"""Write the token files of one split, and the table that says where each document begins.

Format, as `gptoss.tables.token_files.TokenSplit` reads it: `SPLIT-00000.bin` … are flat little-endian token ids with
no header, so they can be memory-mapped at any offset. Every file but the last holds `tokens_per_shard` tokens; a
document may continue in the next file.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.tables.token_files import Split
from gptoss.tokenizer.encode import EncodedDocument
from gptoss.tokenizer.token_counts import TokenCounts

DOCUMENT_OFFSETS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("tokens", pa.int64()),  # including the separator
        ("bytes", pa.int64()),  # of UTF-8 text
        ("offset", pa.int64()),  # first token in the split
    ]
)
# Rows of the table per Parquet row group: about 1 MB, all that is in memory.
ROWS_PER_GROUP = 16_384


class SplitWriter:
    """Writes documents in order to the files of one split."""

    def __init__(self, folder: Path, split: Split, tokens_per_shard: int) -> None:
        self.counts = TokenCounts()
        self.sources: dict[str, TokenCounts] = {}
        self._source_starts: dict[str, int] = {}
        self._tokens = TokenFileWriter(folder, split, tokens_per_shard)
        self._offsets = pq.ParquetWriter(folder / f"documents-{split}.parquet", DOCUMENT_OFFSETS, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, document: EncodedDocument) -> None:
        start, tokens = self.counts.tokens, len(document.ids)
        row = {"id": document.id, "source": document.source, "tokens": tokens, "bytes": document.text_bytes}
        self._rows.append(row | {"offset": start})
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush_rows()
        self._source_starts.setdefault(document.source, start)
        for counts in (self.counts, self.sources.setdefault(document.source, TokenCounts())):
            counts.add(text_bytes=document.text_bytes, tokens=tokens)
        self._tokens.append(document.ids)

    def close(self) -> dict[str, Any]:
        """Complete the files; returns the split's entry of `index.json`."""
        self._tokens.close()
        if self._rows:  # an empty table would be written as an empty row group
            self._flush_rows()
        self._offsets.close()
        sources = {
            name: {"start": self._source_starts[name], **asdict(source)} for name, source in self.sources.items()
        }
        return {"shards": self._tokens.files, "sources": sources, **asdict(self.counts)}

    def metrics(self) -> dict[str, Any]:
        """Return counts and `bytes_per_token`, in total and per source; a separator counts as a token."""
        sources = {name: source.as_metrics() for name, source in sorted(self.sources.items())}
        return {**self.counts.as_metrics(), "sources": sources}

    def _flush_rows(self) -> None:
        self._offsets.write_table(pa.Table.from_pylist(self._rows, schema=DOCUMENT_OFFSETS))
        self._rows = []


class TokenFileWriter:
    """Writes a stream of token ids to files of `tokens_per_file` tokens, hashing them on the way."""

    def __init__(self, folder: Path, split: Split, tokens_per_file: int) -> None:
        self.files: list[dict[str, Any]] = []
        """Name, number of tokens and, once a file is complete, SHA-256: `shards` of the index."""
        self._folder = folder
        self._split = split
        self._tokens_per_file = tokens_per_file
        self._stream: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def append(self, ids: npt.NDArray[Any]) -> None:
        """Append the tokens of a document, shape (tokens,), beginning new files as needed."""
        while len(ids):
            stream = self._stream or self._open_next()
            file = self.files[-1]
            head, ids = np.split(ids, [self._tokens_per_file - file["tokens"]])
            # The hash is computed from memory: reading the files again would double the I/O of the stage.
            content = head.tobytes()
            stream.write(content)
            self._digest.update(content)
            file["tokens"] += len(head)
            if file["tokens"] == self._tokens_per_file:
                self.close()

    def close(self) -> None:
        """Complete the open file, if there is one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self.files[-1]["sha256"] = self._digest.hexdigest()

    def _open_next(self) -> BinaryIO:
        name = f"{self._split}-{len(self.files):05d}.bin"
        self.files.append({"file": name, "tokens": 0})
        self._digest = hashlib.sha256()
        self._stream = open(self._folder / name, "wb")  # noqa: SIM115 (closed when the file is full)
        return self._stream
