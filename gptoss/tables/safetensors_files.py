"""Read and write safetensors files block by block, so that memory is bounded by a block and not by a file.

The safetensors library maps or holds whole files, which a model larger than memory does not allow. The format: 8 bytes,
little-endian, the length of the header; the header, JSON: name to dtype, shape and position; the raw bytes of the
tensors, row-major, little-endian, without gaps. The header can be written first, as all sizes are known in advance.

References: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.core.errors import DataError

if TYPE_CHECKING:
    import torch

# Bytes of a tensor in memory at a time, several times over while they are cast, hashed and written. Blocks that fit
# into the processor's cache are cast four times as fast as blocks of 32 MB, and the allocator reuses their memory.
BLOCK_BYTES = 4 * 2**20
# The limit in the format. Without it, a damaged length could make us read gigabytes of "header".
MAX_HEADER_BYTES = 100_000_000
# The tensor data begins at a multiple of this, so that it is aligned when the file is mapped.
_ALIGNMENT = 8
# Names of dtypes in the format and in torch.
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: the bytes from `start` to `end`, counted from the beginning of the file."""

    name: str
    file: Path
    dtype: str
    """Its name in the format: F16, F32 …"""
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def values(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def blocks(self, max_bytes: int = BLOCK_BYTES) -> Iterator[torch.Tensor]:
        """The values in order as one-dimensional blocks of at most `max_bytes`, each in its own memory."""
        import torch

        dtype = getattr(torch, DTYPES[self.dtype])
        step = max(1, max_bytes // dtype.itemsize) * dtype.itemsize
        with open(self.file, "rb", buffering=0) as stream:
            stream.seek(self.start)
            for start in range(self.start, self.end, step):
                # Not a bytearray, which would be filled with zeros first.
                raw = torch.empty(min(step, self.end - start), dtype=torch.uint8)
                _read_exactly(stream, memoryview(raw.numpy()), self.file)
                yield raw.view(dtype)


def read_header(file: Path) -> list[StoredTensor]:
    """The tensors of a file in the order of their bytes. Errors: `DataError` for a file that is missing, truncated,
    longer than its header states, or whose header contradicts itself."""
    if not file.is_file():
        raise DataError(f"{file} does not exist", "run `dvc repro` for the stage that trains the model")
    size = file.stat().st_size
    try:
        with open(file, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise ValueError(f"its header should have {length} bytes, the file has {size}")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        tensors = [_stored(file, name, entry, 8 + length) for name, entry in header.items()]
        tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
        _check_positions(tensors, 8 + length, size)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file} is not a whole safetensors file: {error}",
            f"remove {file.parent} and run `dvc repro`, which creates it again",
        ) from None
    return tensors


def _stored(file: Path, name: str, entry: dict[str, Any], offset: int) -> StoredTensor:
    import torch

    start, end = entry["data_offsets"]
    tensor = StoredTensor(name, file, entry["dtype"], tuple(entry["shape"]), offset + start, offset + end)
    need = tensor.values * getattr(torch, DTYPES[tensor.dtype]).itemsize
    if need != end - start:
        raise ValueError(
            f"{name} takes {need} bytes as {tensor.dtype} {list(tensor.shape)}, the header gives it {end - start}"
        )
    return tensor


def _check_positions(tensors: Sequence[StoredTensor], offset: int, size: int) -> None:
    """The tensors have no gaps and no overlaps, and the file ends with the last one."""
    ends = [offset, *(tensor.end for tensor in tensors)]
    for tensor, end in zip(tensors, ends, strict=False):
        if tensor.start != end:
            raise ValueError(f"{tensor.name} starts at byte {tensor.start}, not {end}")
    if ends[-1] != size:
        raise ValueError(f"its tensors end at byte {ends[-1]}, the file has {size}")


class SafetensorsWriter:
    """Writes one file: `SafetensorsWriter(path, {name: (dtype, shape)})`, `write` for each name in that order, `close`.

    A context manager: it closes the file, and after an exception leaves it incomplete, to be removed by the caller's
    `atomic_folder` or `atomic_file`. `sha256` is the checksum of the whole file after it is closed.
    """

    # One thread hashes and one writes while the caller computes the next block. Both release the GIL, so the three
    # overlap; at most this many blocks wait, which bounds memory when the disk is slow.
    AHEAD = 4

    def __init__(self, path: Path, tensors: Mapping[str, tuple[torch.dtype, Sequence[int]]]) -> None:
        """Write the header."""
        self.path = path
        self.sha256 = ""
        self._tensors = dict(tensors)
        self._names = iter(self._tensors)
        self._hash = hashlib.sha256()
        self._stream = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._hashing, self._writing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._waiting: list[tuple[Future[None], Future[None]]] = []
        self._put(memoryview(encoded_header(self._tensors)))

    def write(self, name: str, values: torch.Tensor | Iterable[torch.Tensor]) -> None:
        """Write the tensor `name`, as a whole or as consecutive blocks in row-major order. Blocks are on the CPU, of
        the declared dtype and of any shape, and must not be modified afterwards: they are written in the background.

        Errors: `ValueError` when the name is not the next one, or when dtype or number of values differ from those
        declared.
        """
        import torch

        expected = next(self._names, None)
        if name != expected:
            raise ValueError(f"{self.path}: the next tensor is {expected}, not {name}")
        dtype, shape = self._tensors[name]
        count = 0
        for block in [values] if isinstance(values, torch.Tensor) else values:
            if block.dtype != dtype:
                raise ValueError(f"{self.path}: {name} is declared {dtype}, a block of it is {block.dtype}")
            count += block.numel()
            for piece in _flat_bytes(block).split(BLOCK_BYTES):
                self._put(memoryview(piece.numpy()))
        if count != math.prod(shape):
            raise ValueError(f"{self.path}: {name} is declared {list(shape)}, {math.prod(shape)} values, not {count}")

    def close(self) -> None:
        """Complete the file. Errors: `ValueError` when a declared tensor was not written."""
        # No fsync: the caller's `atomic_folder` or `atomic_file` does it, and waiting for the disk here would delay the
        # next file.
        missing = next(self._names, None)
        if missing is not None:
            self.abandon()
            raise ValueError(f"{self.path}: {missing} was declared and not written")
        try:
            self._wait(0)
        finally:
            self.abandon()
        self.sha256 = self._hash.hexdigest()

    def abandon(self) -> None:
        """Close an incomplete file."""
        self._hashing.shutdown(cancel_futures=True)
        self._writing.shutdown(cancel_futures=True)
        self._stream.close()

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _put(self, raw: memoryview) -> None:
        self._wait(self.AHEAD - 1)
        self._waiting.append((self._hashing.submit(self._hash.update, raw), self._writing.submit(self._write_all, raw)))

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            for done in self._waiting.pop(0):
                done.result()

    def _write_all(self, raw: memoryview) -> None:
        # Like reading: one call may write a part only.
        while raw:
            raw = raw[self._stream.write(raw) :]


def encoded_header(tensors: Mapping[str, tuple[torch.dtype, Sequence[int]]]) -> bytes:
    """Length and header of a file that contains `tensors` in this order, padded with spaces for alignment."""
    names = {torch_name: name for name, torch_name in DTYPES.items()}
    sizes = (math.prod(shape) * dtype.itemsize for dtype, shape in tensors.values())
    ends = accumulate(sizes, initial=0)
    # transformers rejects files without this entry.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for (name, (dtype, shape)), places in zip(tensors.items(), pairwise(ends), strict=True):
        header[name] = {
            "dtype": names[str(dtype).removeprefix("torch.")],
            "shape": list(shape),
            "data_offsets": list(places),
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    return len(encoded).to_bytes(8, "little") + encoded


def _flat_bytes(block: torch.Tensor) -> torch.Tensor:
    """The bytes of a tensor in row-major order, uint8 [bytes]; a view if the tensor is contiguous."""
    import torch

    return block.detach().contiguous().reshape(-1).view(torch.uint8)


def _read_exactly(stream: Any, view: memoryview, file: Path) -> None:
    # An unbuffered stream may return less than asked for (Linux reads at most 2 GiB per call).
    while view:
        count = stream.readinto(view)
        if not count:
            raise DataError(f"{file} ended while it was being read", f"remove {file.parent} and run `dvc repro`")
        view = view[count:]
