"""Transparent decompression that never mistakes a cut or corrupt file for a complete one.

In: raw bytes, plain or compressed with gzip, bzip2 or xz (also many streams in a row, as in multistream dumps and
WARC files), told apart by their first bytes. Out: a stream of plain bytes.
Wrong: `DamagedError` at the first byte that cannot be decoded, at a missing end, and at bytes after the last stream
(which Python's bz2 and lzma modules pass over in silence).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from stages.ingest.records import BytesIterator, DamagedError

CHUNK = 1 << 18
"""Bytes read or decompressed at once."""


class HashingStream(io.RawIOBase):
    """A raw stream that counts and hashes (SHA-256) what is read from it. `stream` is buffered (it has `read1`)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        self._digest.update(data)
        self.bytes += len(data)
        return len(data)

    def sha256(self) -> str:
        """Hex digest of the whole file: reads what a reader that stopped early left over."""
        while self.read(CHUNK):
            pass
        return self._digest.hexdigest()


def decompressed(raw: io.RawIOBase) -> io.BufferedReader[Any]:
    """A buffered stream of the plain bytes. Reading it raises `DamagedError` where the compressed data is damaged."""
    buffered = io.BufferedReader(raw, CHUNK)
    magic = buffered.peek(6)[:6]
    if magic.startswith(b"\x1f\x8b"):
        chunks = _gzip(buffered)
    elif magic.startswith(b"BZh"):
        chunks = _streams(buffered, bz2.BZ2Decompressor)
    elif magic == b"\xfd7zXZ\0":
        chunks = _streams(buffered, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ))
    else:
        chunks = iter(lambda: buffered.read1(CHUNK), b"")
    return io.BufferedReader(BytesIterator(chunks), CHUNK)


def _gzip(raw: io.BufferedReader[Any]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=raw) as stream:
        while True:
            try:
                chunk = stream.read1(CHUNK)
            except EOFError:
                raise DamagedError("gzip data is cut off") from None
            except (zlib.error, gzip.BadGzipFile) as error:
                raise DamagedError(f"gzip data is corrupt ({error})") from None
            if not chunk:
                return
            yield chunk


def _streams(raw: io.BufferedReader[Any], start: Callable[[], Any]) -> Iterator[bytes]:
    """Streams of bzip2 or xz, one after the other up to the last byte of the file."""
    kind = "bzip2" if start is bz2.BZ2Decompressor else "xz"
    decompressor = start()
    while True:
        data = b""
        if decompressor.eof:
            data = decompressor.unused_data or raw.read(CHUNK)
            if not data.strip(b"\0"):
                return
            decompressor = start()
        elif decompressor.needs_input:
            data = raw.read(CHUNK)
            if not data:
                raise DamagedError(f"{kind} data is cut off")
        try:
            chunk = decompressor.decompress(data, CHUNK)
        except (OSError, lzma.LZMAError) as error:
            raise DamagedError(f"{kind} data is corrupt ({error})") from None
        if chunk:
            yield chunk
