"""Array types of the text kernels, and views of Arrow strings as arrays without copying."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
CodePoints = npt.NDArray[np.int32]

# For `np.concatenate`, which needs at least one array to know the dtype.
NO_HASHES: Hashes = np.zeros(0, dtype=np.uint64)


def offsets_of(sizes: npt.ArrayLike) -> Integers:
    """Start of each of some consecutive pieces and the end of the last, int64 [pieces + 1], from their sizes."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def utf8_bytes(texts: pa.Array) -> tuple[Bytes, Integers]:
    """The bytes of a large_string array without copying, and int64 [texts + 1]: text i is `bounds[i]:bounds[i + 1]`."""
    _, offsets, data = texts.buffers()
    # An array without texts may have no offsets, and one whose texts are all empty no data.
    if len(texts) == 0 or data is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    # A sliced array shares the buffers of the whole one, hence the offset.
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def uint64_at_every_byte(data: Bytes) -> Hashes:
    """Little-endian uint64 [bytes - 7]: element i is the eight bytes from i on. A view: overlapping and unaligned."""
    return np.ndarray(max(0, len(data) - 7), dtype="<u8", buffer=data if len(data) > 7 else bytes(8), strides=(1,))
