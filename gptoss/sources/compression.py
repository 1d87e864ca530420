"""Transparent decompression that never mistakes a cut or corrupt file for a complete one.

In: raw bytes, plain or compressed with gzip, bzip2 or xz (also many streams in a row, as in multistream dumps and
WARC files), told apart by their first bytes. Out: a stream of plain bytes.
Wrong: `DamagedError` at the first byte that cannot be decoded, at a missing end, at bytes after the last stream (which
Python's bz2 and lzma modules pass over in silence), and where a little data expands to an absurd amount.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gptoss.sources.streams import BytesIterator, DamagedError

CHUNK = 1 << 18
"""Bytes read or decompressed at once."""
BOMB_BYTES = 256 * 2**20
"""Plain bytes before a file can count as a bomb."""
MAX_RATIO = 200
"""Plain bytes a compressed byte may stand for, on average: text reaches about 30, logs and tables 100."""
MAX_DICTIONARY = 256 * 2**20
"""Bytes an xz file may ask for: its highest preset needs 65 MiB."""
MAX_STARTS = 1 << 16
"""Beginnings of streams that are remembered: many more than a buffer of plain bytes holds."""


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
        plain = Expansion(buffered, "gzip", lambda: zlib.decompressobj(wbits=31))
    elif magic.startswith(b"BZh"):
        plain = Expansion(buffered, "bzip2", bz2.BZ2Decompressor)
    elif magic == b"\xfd7zXZ\0":
        plain = Expansion(buffered, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY))
    else:
        return io.BufferedReader(BytesIterator(iter(lambda: buffered.read1(CHUNK), b"")), CHUNK)
    return io.BufferedReader(plain, CHUNK)


def stored_at(stream: io.BufferedReader[Any], position: int) -> int:
    """Where in the raw file the compressed stream begins whose first plain byte is at `position`: there a record of a
    WARC file can be read alone. The position itself in a file that is not compressed, or not by the record.
    Positions must be asked for in rising order."""
    return stream.raw.stored_at(position) if isinstance(stream.raw, Expansion) else position


class Expansion(BytesIterator):
    """Streams of one kind of compression, one after the other up to the last byte of the file, as plain bytes."""

    def __init__(self, raw: io.BufferedReader[Any], kind: str, start: Callable[[], Any]) -> None:
        self._raw, self._kind, self._start = raw, kind, start
        self._taken = self._given = 0
        self._starts: deque[tuple[int, int]] = deque([(0, 0)], maxlen=MAX_STARTS)
        super().__init__(self._expanded())

    def stored_at(self, position: int) -> int:
        """See `stored_at`."""
        while len(self._starts) > 1 and self._starts[1][0] <= position:
            self._starts.popleft()
        plain, stored = self._starts[0]
        return stored if plain == position else position

    def _expanded(self) -> Iterator[bytes]:
        decompressor = self._start()
        data = self._more()
        while True:
            try:
                chunk = decompressor.decompress(data, CHUNK)
            except (OSError, zlib.error, lzma.LZMAError) as error:
                raise DamagedError(f"{self._kind} data is corrupt ({error})") from None
            self._given += len(chunk)
            self._check_ratio()
            if chunk:
                yield chunk
            if decompressor.eof:
                data = decompressor.unused_data or self._more()
                data = self._past_padding(data)
                if not data:
                    return
                decompressor = self._start()
                self._starts.append((self._given, self._taken - len(data)))
            else:
                data = getattr(decompressor, "unconsumed_tail", b"")
                if not data and (not chunk or getattr(decompressor, "needs_input", len(chunk) < CHUNK)):
                    data = self._more()
                    if not data:
                        raise DamagedError(f"{self._kind} data is cut off")

    def _more(self) -> bytes:
        data = self._raw.read1(CHUNK)
        self._taken += len(data)
        return data

    def _past_padding(self, data: bytes) -> bytes:
        """What follows the zeros that may stand after a stream."""
        while data and not (data := data.lstrip(b"\0")):
            data = self._more()
        return data

    def _check_ratio(self) -> None:
        if self._given > max(BOMB_BYTES, MAX_RATIO * self._taken):
            raise DamagedError(
                f"{self._kind} data is a bomb: its first {self._taken} bytes expand to more than {self._given}"
            )
