"""Transparent decompression that never mistakes a cut or corrupt file for a complete one.

In: raw bytes, plain or compressed with gzip, bzip2 or xz (also many streams in a row, as in multistream dumps and
WARC files), recognised by their first bytes. Out: a stream of plain bytes.
Errors: `DamagedError` at the first byte that cannot be decoded, at a missing end, at bytes after the last stream (which
Python's bz2 and lzma modules ignore), and where a little data expands to an absurd amount.
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

# Bytes read or decompressed at once: large enough that Python's overhead per call does not count, small enough that a
# bomb cannot expand far before it is noticed.
CHUNK = 1 << 18
# A file counts as a bomb from this many plain bytes on, and from this ratio of plain to compressed bytes. Text reaches
# a ratio of about 30, logs and tables 100; bombs reach 1,000 (gzip) and far more (bzip2, xz).
BOMB_BYTES = 256 * 2**20
MAX_RATIO = 200
# Memory that the decompression of an xz file may use. The highest preset needs 65 MiB; a header may demand 4 GiB.
MAX_DICTIONARY = 256 * 2**20
# Stream starts that are remembered for `stored_at`: many more than one buffer of plain bytes holds.
MAX_STARTS = 1 << 16


class HashingStream(io.RawIOBase):
    """A raw stream that counts and hashes (SHA-256) what is read from it. `stream` must have `read1`."""

    def __init__(self, stream: Any) -> None:
        # `read1` and not `read`: a pipe delivers what it has, without waiting for a full buffer.
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
        """Hex digest of the whole file."""
        while self.read(CHUNK):  # a reader may have stopped before the end
            pass
        return self._digest.hexdigest()


def decompressed(raw: io.RawIOBase) -> io.BufferedReader[Any]:
    """A buffered stream of the plain bytes. Reading it raises `DamagedError` where the compressed data is damaged."""
    buffered = io.BufferedReader(raw, CHUNK)
    # By content and not by suffix: suffixes of URLs are often wrong or missing.
    magic = buffered.peek(6)[:6]
    plain: io.RawIOBase
    if magic.startswith(b"\x1f\x8b"):
        plain = Decompression(buffered, "gzip", lambda: zlib.decompressobj(wbits=31))  # 31: with gzip's header
    elif magic.startswith(b"BZh"):
        plain = Decompression(buffered, "bzip2", bz2.BZ2Decompressor)
    elif magic == b"\xfd7zXZ\0":
        plain = Decompression(buffered, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY))
    else:
        plain = BytesIterator(iter(lambda: buffered.read1(CHUNK), b""))
    return io.BufferedReader(plain, CHUNK)


def stored_at(stream: io.BufferedReader[Any], position: int) -> int:
    """The position in the raw file of the compressed stream that begins with the plain byte at `position`: from there
    a record of a WARC file can be read alone. Returns `position` itself for a file that is not compressed, or not
    record by record. Positions must be asked for in ascending order."""
    return stream.raw.stored_at(position) if isinstance(stream.raw, Decompression) else position


class Decompression(BytesIterator):
    """Streams of one kind of compression, one after the other up to the last byte of the file, as plain bytes."""

    def __init__(self, raw: io.BufferedReader[Any], kind: str, new_decompressor: Callable[[], Any]) -> None:
        self._raw, self._kind, self._new_decompressor = raw, kind, new_decompressor
        self._bytes_in = self._bytes_out = 0
        # `(plain position, raw position)` of each stream
        self._starts: deque[tuple[int, int]] = deque([(0, 0)], maxlen=MAX_STARTS)
        super().__init__(self._chunks_out())

    def stored_at(self, position: int) -> int:
        """See `stored_at`."""
        while len(self._starts) > 1 and self._starts[1][0] <= position:
            self._starts.popleft()
        plain, stored = self._starts[0]
        return stored if plain == position else position

    def _chunks_out(self) -> Iterator[bytes]:
        decompressor = self._new_decompressor()
        data = self._read()
        while True:
            try:
                chunk = decompressor.decompress(data, CHUNK)
            except (OSError, zlib.error, lzma.LZMAError) as error:
                raise DamagedError(f"{self._kind} data is corrupt ({error})") from None
            self._bytes_out += len(chunk)
            self._check_ratio()
            if chunk:
                yield chunk
            if decompressor.eof:
                data = self._skip_padding(decompressor.unused_data or self._read())
                if not data:
                    return
                decompressor = self._new_decompressor()
                self._starts.append((self._bytes_out, self._bytes_in - len(data)))
            else:
                # The three modules differ: zlib returns input that did not fit as `unconsumed_tail` and has no
                # `needs_input`; bz2 and lzma keep that input and want an empty argument until `needs_input` is true.
                data = getattr(decompressor, "unconsumed_tail", b"")
                if not data and (not chunk or getattr(decompressor, "needs_input", len(chunk) < CHUNK)):
                    data = self._read()
                    if not data:
                        raise DamagedError(f"{self._kind} data is cut off")

    def _read(self) -> bytes:
        data = self._raw.read1(CHUNK)
        self._bytes_in += len(data)
        return data

    def _skip_padding(self, data: bytes) -> bytes:
        """What follows the zeros that may stand after a stream (xz pads to 4 bytes, tapes to whole blocks)."""
        while data and not (data := data.lstrip(b"\0")):
            data = self._read()
        return data

    def _check_ratio(self) -> None:
        if self._bytes_out > max(BOMB_BYTES, MAX_RATIO * self._bytes_in):
            raise DamagedError(
                f"{self._kind} data is a bomb: its first {self._bytes_in} bytes expand to more than {self._bytes_out}"
            )
