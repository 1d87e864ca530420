"""Compressed raw files: every kind, every damage, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from typing import Any

import pytest

from gptoss.sources import compression
from gptoss.sources.compression import HashingStream, decompressed, stored_at
from gptoss.sources.streams import DamagedError


def file(data: bytes) -> io.RawIOBase:
    return HashingStream(io.BytesIO(data))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_every_compression_in_one_or_many_streams(compress: Any) -> None:
    data = bytes(range(256)) * 5000
    raw = compress(data[:70_000]) + compress(data[70_000:])
    hashing = HashingStream(io.BytesIO(raw))
    assert decompressed(hashing).read() == data
    assert hashing.bytes == len(raw)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("harm", ["cut", "flipped", "garbage after"])
def test_every_damage_is_reported(compress: Any, harm: str) -> None:
    raw = compress(bytes(range(256)) * 2000) + compress(b"second stream " * 500)
    at = len(raw) - 40
    harmed = {"cut": raw[:-7], "flipped": raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], "garbage after": raw + b"xy"}
    with pytest.raises(DamagedError):
        decompressed(file(harmed[harm])).read()


def test_stored_position_of_a_record() -> None:
    members = [gzip.compress(f"record {number} ".encode() * 100 * number) for number in range(1, 50)]
    stream = decompressed(file(b"".join(members)))
    stream.read()
    position = stored = 0
    for number, member in enumerate(members, 1):
        assert stored_at(stream, position) == stored
        position, stored = position + len(f"record {number} ") * 100 * number, stored + len(member)
    plain = decompressed(file(b"plain text"))
    assert stored_at(plain, 7) == 7


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_bombs_end_early(compress: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "BOMB_BYTES", 1 << 20)
    stream = decompressed(file(compress(bytes(8 << 20))))
    with pytest.raises(DamagedError, match="is a bomb: its first"):
        while stream.read1(1 << 16):
            pass
    text = b"".join(b"line %d of ordinary text\n" % number for number in range(100_000))
    assert decompressed(file(compress(text))).read() == text
