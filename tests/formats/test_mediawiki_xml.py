"""The XML of MediaWiki dumps: streaming, encodings, and hostile files."""

from __future__ import annotations

import io

import pytest

from gptoss.config.source import SourceConfig
from gptoss.formats import mediawiki, mediawiki_xml
from gptoss.sources.streams import BytesIterator
from tests.formats.run_reader import read
from tests.raw_files import dump, page, prose


def test_hostile_xml_is_refused(a_source: SourceConfig) -> None:
    bomb = b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + dump(page("A", 1, "&b;"))
    assert read(mediawiki.read, bomb, a_source)[1] == "XML declares a document type, which no MediaWiki export does"
    assert "not a MediaWiki export" in read(mediawiki.read, b"plain text", a_source)[1]
    assert "malformed" in read(mediawiki.read, dump(page("A", 1, "x</wrong>")), a_source)[1]


def test_reading_holds_one_record_at_a_time(a_source: SourceConfig) -> None:
    """A dump of 100 MB is read in the memory of a few pages."""
    import tracemalloc

    head, _, tail = dump(page("A", 1, "w" * 1_000_000, namespace=1)).partition(b"<page>")
    one = b"<page>" + tail.removesuffix(b"</mediawiki>\n")
    stream = io.BufferedReader(BytesIterator(iter([head, *([one] * 100), b"</mediawiki>\n"])))
    tracemalloc.start()
    count = sum(1 for _ in mediawiki.read(stream, "raw.file", a_source))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100
    assert peak < 10 * len(one)


@pytest.mark.parametrize("encoding", ["big5", "utf-32", "shift_jis", "no-such-encoding"])
def test_an_encoding_that_cannot_be_read_is_damage(a_source: SourceConfig, encoding: str) -> None:
    raw = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + dump(page("A", 1, prose(1)))
    records, damage = read(mediawiki.read, raw, a_source)
    assert not records
    assert "not a MediaWiki export" in damage


def test_bombs_of_xml(a_source: SourceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediawiki_xml, "MAX_TEXT", 1000)
    monkeypatch.setattr(mediawiki_xml, "MAX_TAG", 1 << 17)
    records, damage = read(mediawiki.read, dump(page("A", 1, "x" * 2000), page("B", 2, prose(2))), a_source)
    assert ([getattr(record, "reason", "") for record in records], damage) == (["too long", ""], "")
    assert "nested more than" in read(mediawiki.read, b"<mediawiki>" + b"<a>" * 100, a_source)[1]
    assert "a tag of more" in read(mediawiki.read, b"<mediawiki><a b='" + b"x" * (1 << 19), a_source)[1]
    late = dump(page("A", 1, prose(1))).replace(b"</page>", b"</page><!DOCTYPE x [<!ENTITY a 'b'>]>")
    assert len(read(mediawiki.read, late, a_source)[0]) == 1
