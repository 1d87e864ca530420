"""Streams of decompressed bytes, which every reader reads, and the error that reports damage."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

# Records are held in memory one at a time, so this bounds the memory of a reader. A page, line, book or response
# above it is rejected without being read.
MAX_RECORD_BYTES = 64 * 2**20

Stream: TypeAlias = "io.BufferedReader[Any]"
"""Decompressed bytes. Readers use `read1` and `readline`: where `read` meets damage, it loses the bytes before it."""

LINE_END = re.compile("\r\n?")


class DamagedError(Exception):
    """The rest of a raw file cannot be read; the documents before the damage are good."""


def lines(stream: Stream, limit: int = MAX_RECORD_BYTES) -> Iterator[tuple[int, bytes | None]]:
    """`(number from 1, line without its end)`; None instead of a line longer than `limit`, which is skipped."""
    number = 0
    # One byte more than the limit tells a line of exactly that length from a longer one.
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) <= limit:
            yield number, line.rstrip(b"\r\n")
            continue
        # The rest is read in pieces and dropped, so an endless line needs constant memory.
        while line and not line.endswith(b"\n"):
            line = stream.readline(limit)
        yield number, None


def read_up_to(stream: Stream, limit: int) -> bytearray:
    """The rest of the stream, or its first `limit` + 1 bytes when it is longer."""
    data = bytearray()
    # `read1` returns what there is, so nothing before damage is lost.
    while len(data) <= limit and (chunk := stream.read1(limit + 1 - len(data))):
        data += chunk
    return data


class BytesIterator(io.RawIOBase):
    """A readable stream over an iterator of byte chunks, which knows its position (WARC records need it)."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._chunks))
            except StopIteration:
                return 0
        # A memoryview: slicing bytes would copy the rest of a chunk on every read.
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        self._position += size
        return size

    def tell(self) -> int:
        return self._position
