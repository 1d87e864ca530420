"""What a reader of one raw file says: documents, rejections, skips, and that the file is damaged from here on.

A reader is `read(stream, origin, source) -> Iterator[Record]`: a stream of decompressed bytes (WARC and all other
formats alike), the URL of the raw file, and its source. It holds one record in memory, never the file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stages.settings import Source

MAX_RECORD_BYTES = 64 * 2**20
"""A page, line, book or response above this is rejected unread: memory is bounded by the record."""


Stream: TypeAlias = "io.BufferedReader[Any]"
"""Decompressed bytes. Readers use `read1` and `readline`: where `read` meets damage, it loses what came before."""


@dataclass(frozen=True)
class Document:
    """Clean text of one record. `license` and `language` default to the source's; `locator` says where in the raw file
    the record is: `byte 1234`, `line 7`, `page 12`."""

    url: str
    title: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    license: str | None = None
    language: str | None = None
    locator: str = ""


@dataclass(frozen=True)
class Rejection:
    """A record that should have become a document but is broken: where it is, why, and what was seen."""

    locator: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Skip:
    """A sound record that is no document by design, such as a redirect; only counted."""

    reason: str


Record = Document | Rejection | Skip
Reader = Callable[[Stream, str, Source], Iterator[Record]]


class DamagedError(Exception):
    """The rest of a raw file cannot be read; the documents before it are good."""


FORBIDDEN = re.compile("[\ud800-\udfff\0]")
LINE_END = re.compile("\r\n?")


def clean(text: str) -> str:
    """Newlines as `\\n`; lone surrogates and NUL, which neither UTF-8 nor Arrow can hold, as U+FFFD."""
    return LINE_END.sub("\n", FORBIDDEN.sub("\ufffd", text))


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
