"""Cleaning of the text of records."""

from __future__ import annotations

from gptoss.formats.records import clean


def test_clean_replaces_line_ends_and_what_utf_8_cannot_hold() -> None:
    assert clean("a\r\nb\rc\0\ud800") == "a\nb\nc\ufffd\ufffd"
