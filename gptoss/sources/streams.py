"""Streams of decompressed bytes: what every reader reads, and how damage is reported."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

MAX_RECORD_BYTES = 64 * 2**20
"""A page, line, book or response above this is rejected unread: memory is bounded by the record."""


Stream: TypeAlias = "io.BufferedReader[Any]"
"""Decompressed bytes. Readers use `read1` and `readline`: where `read` meets damage, it loses what came before."""

LINE_END = re.compile("\r\n?")


class DamagedError(Exception):
    """The rest of a raw file cannot be read; the documents before it are good."""


def lines(stream: Stream, limit: int = MAX_RECORD_BYTES) -> Iterator[tuple[int, bytes | None]]:
    """`(number from 1, line without its end)`; None instead of a line longer than `limit`, which is passed over."""
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) <= limit:
            yield number, line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(limit)
        yield number, None


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
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        self._position += size
        return size

    def tell(self) -> int:
        return self._position
