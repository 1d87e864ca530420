"""Lines and bounded reads of a stream."""

from __future__ import annotations

import io

import pytest

from gptoss.sources.streams import BytesIterator, lines, read_up_to


def stream() -> io.BufferedReader:
    return io.BufferedReader(BytesIterator(iter([b"one\r\ntw", b"o" * 30, b"\nthree"])))


def test_lines_are_numbered_and_long_ones_are_skipped() -> None:
    assert list(lines(stream(), limit=10)) == [(1, b"one"), (2, None), (3, b"three")]


@pytest.mark.parametrize(("limit", "length"), [(5, 6), (42, 43), (43, 43), (100, 43)])
def test_a_bounded_read_shows_whether_there_is_more(limit: int, length: int) -> None:
    assert len(read_up_to(stream(), limit)) == length
