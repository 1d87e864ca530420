"""Read the output of the `shards` stage: one split as an array of tokens, memory-mapped over its shard files.

In: the folder `data/shards`.
Out: slices as NumPy arrays. Only the pages of the tokens that are read are loaded.
Errors: `DataError` for a missing, truncated or damaged file, naming it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from gptoss.core.atomic_files import read_json, sha256_file
from gptoss.core.errors import DataError

Split = Literal["train", "validation"]
INDEX = "index.json"
REMAKE = "remove the folder and run `dvc repro shards`, which creates it again"


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Little-endian uint16, or uint32 for a padded vocabulary above 65,535."""
    return np.dtype("<u2" if vocab_size <= np.iinfo(np.uint16).max else "<u4")


def read_index(folder: Path) -> dict[str, Any]:
    """`index.json` of a shards folder. Errors: `DataError` when it is missing or cannot be read."""
    path = Path(folder) / INDEX
    if not path.is_file():
        raise DataError(f"{path} does not exist", "run `dvc repro shards`")
    try:
        index: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}", REMAKE) from None
    return index


@dataclass(frozen=True)
class TokenSplit:
    """One split. `split[start:stop]` is a copy of those tokens, across shard files; `len(split)` counts all tokens.

    Each document is stored as its separator `<|endoftext|>` followed by its tokens.
    """

    folder: Path
    name: Split
    dtype: np.dtype[Any]
    vocab_size: int
    """Padded: the rows of the embedding. Every token is below it."""
    tokens: int
    documents: int
    bytes: int
    """UTF-8 bytes of the text of all documents: the denominator of bits per byte."""
    sources: Mapping[str, Mapping[str, int]]
    """Per source, in the order of the tokens: its first token (`start`), documents, tokens and bytes. The tokens of a
    source are contiguous, and the sources cover the split."""
    _files: tuple[npt.NDArray[Any], ...]
    _starts: npt.NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path, split: Split) -> TokenSplit:
        """Map the shard files of a split. Errors: `DataError` when a file is missing or has the wrong size, or when the
        index contradicts itself."""
        folder = Path(folder)
        index = read_index(folder)
        try:
            entry = index["splits"][split]
            sources = dict(sorted(entry["sources"].items(), key=lambda item: int(item[1]["start"])))
            _check_index(folder / INDEX, index, split, sources)
            dtype = token_dtype(index["vocab_size"])
            files = tuple(_map_shard(folder / shard["file"], shard["tokens"], dtype) for shard in entry["shards"])
            starts = np.cumsum([0, *(len(tokens) for tokens in files)], dtype=np.int64)
            return cls(
                folder, split, dtype, index["vocab_size"], entry["tokens"], entry["documents"], entry["bytes"],
                sources, files, starts,
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / INDEX} is not an index of shards: {error!r}", REMAKE) from None

    def __len__(self) -> int:
        return self.tokens

    def __getitem__(self, wanted: slice) -> npt.NDArray[Any]:
        """Tokens `start` to `stop` (NumPy's rules for bounds; no step), shape (stop - start,), `self.dtype`."""
        start, stop, step = wanted.indices(self.tokens)
        if step != 1:
            raise ValueError(f"a slice of tokens has step 1, not {step}")
        stop = max(start, stop)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        pieces = [
            self._files[number][max(0, start - self._starts[number]) : stop - self._starts[number]]
            for number in range(first, last)
        ]
        # `concatenate` copies even a single piece: a view of the read-only file could not back a tensor.
        return np.concatenate(pieces) if pieces else np.empty(0, self.dtype)

    def offsets(self) -> npt.NDArray[np.int64]:
        """First token of each document, and the end of the split: shape (documents + 1,)."""
        table = pq.read_table(self.folder / f"documents-{self.name}.parquet", columns=["offset"])
        return np.append(table["offset"].to_numpy(), self.tokens).astype(np.int64)

    def file_of(self, position: int) -> Path:
        """The shard file with the token at `position`."""
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self.folder / str(self._shards()[number]["file"])

    def verify(self, part: int = 0, parts: int = 1) -> None:
        """Compare every shard file, or those of one of `parts` equal parts, with its checksum: each rank of a training
        run verifies its part. Errors: `DataError` naming the first file that differs."""
        for shard in self._shards()[part::parts]:
            path = self.folder / shard["file"]
            if (found := sha256_file(path)) != shard["sha256"]:
                raise DataError(f"{path}: SHA-256 is {found}, the index says {shard['sha256']}", REMAKE)

    def _shards(self) -> list[dict[str, Any]]:
        # Read again when needed, at the start of a run and after damage, instead of kept in the memory of every rank.
        shards: list[dict[str, Any]] = read_index(self.folder)["splits"][self.name]["shards"]
        return shards


def _check_index(path: Path, index: dict[str, Any], split: Split, sources: Mapping[str, Mapping[str, int]]) -> None:
    """The parts of an index agree: the width of a token with the vocabulary, and the lengths with each other."""
    if index["dtype"] != (dtype := token_dtype(index["vocab_size"])).name:
        raise DataError(
            f"{path}: tokens are {index['dtype']}, a vocabulary of {index['vocab_size']} needs {dtype.name}", REMAKE
        )
    entry = index["splits"][split]
    if (total := sum(shard["tokens"] for shard in entry["shards"])) != entry["tokens"]:
        raise DataError(f"{path}: the {split} shards hold {total} tokens, the split {entry['tokens']}", REMAKE)
    end = 0
    for name, source in sources.items():
        if source["start"] != end:
            raise DataError(
                f"{path}: {name} begins at token {source['start']} of {split}, the source before it ends at {end}",
                REMAKE,
            )
        end += source["tokens"]
    if end != entry["tokens"]:
        raise DataError(f"{path}: the sources of {split} end at token {end}, the split at {entry['tokens']}", REMAKE)


def _map_shard(path: Path, tokens: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if not path.is_file():
        raise DataError(f"{path} does not exist, but the index names it", REMAKE)
    expected = tokens * dtype.itemsize
    # Checked here, as reading past the end of a mapped file that was cut short would kill the process with SIGBUS.
    if (found := path.stat().st_size) != expected:
        raise DataError(
            f"{path} has {found} bytes; {tokens} tokens of {dtype.itemsize} bytes are {expected}: it is truncated",
            REMAKE,
        )
    return np.memmap(path, dtype=dtype, mode="r", shape=(tokens,))
