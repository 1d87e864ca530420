"""What each reader makes of real and hostile raw files of its format."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.ingest import mediawiki, warc
from stages.ingest.compression import HashingStream, decompressed
from stages.ingest.records import BytesIterator, DamagedError, Document, Rejection, Skip, clean, lines
from stages.settings import Source
from tests.ingest.conftest import dump, page, prose
from tests.ingest.reading import read, texts

# --- compression -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_every_compression_in_one_or_many_streams(compress: Any) -> None:
    data = bytes(range(256)) * 5000
    raw = compress(data[:70_000]) + compress(data[70_000:])
    hashing = HashingStream(io.BytesIO(raw))
    assert decompressed(hashing).read() == data
    assert hashing.bytes == len(raw)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("harm", ["cut", "flipped", "garbage after"])
def test_no_damage_goes_unnoticed(compress: Any, harm: str) -> None:
    raw = compress(bytes(range(256)) * 2000) + compress(b"second stream " * 500)
    at = len(raw) - 40
    harmed = {"cut": raw[:-7], "flipped": raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], "garbage after": raw + b"xy"}
    with pytest.raises(DamagedError):
        decompressed(HashingStream(io.BytesIO(harmed[harm]))).read()


def test_clean_and_lines() -> None:
    assert clean("a\r\nb\rc\0\ud800") == "a\nb\nc\ufffd\ufffd"
    stream = io.BufferedReader(BytesIterator(iter([b"one\r\ntw", b"o" * 30, b"\nthree"])))
    assert list(lines(stream, limit=10)) == [(1, b"one"), (2, None), (3, b"three")]


# --- MediaWiki ---------------------------------------------------------------------------------------------------

MARKUP = """\
{{Infobox|name={{nested|x}}}}
'''River''' (''Latin'': {{lang|la|flumen}}; {{IPAc-en|r}}) is a [[stream|stream]] of [[water]]s.&lt;ref&gt;x&lt;/ref&gt;
It is {{convert|10|km|mi}} long&lt;!-- hidden --&gt; and flows at &lt;math&gt;v = x^{{2}}&lt;/math&gt;.[http://a.b x]

{| class="wikitable"
| cell {{t|}} || [[x]]
{| nested
|}
|}
== Course ==
* first [[File:a.jpg|thumb|A [[caption]]]]item
* second
=== Empty ===
== Sources ==
&lt;references/&gt;
{{reflist}}
[[Kategorie:Rivers]] [[Category:Water]] [[de:Fluss]] __NOTOC__"""


def test_wikitext_becomes_prose(a_source: Source) -> None:
    (record,), damage = read(mediawiki.read, dump(page("River", 12, MARKUP)), a_source)
    assert isinstance(record, Document)
    assert not damage
    assert record.text == (
        "River\n\nRiver (Latin: flumen) is a stream of waters.\nIt is 10 km long and flows at $v = x^{{2}}$.x\n\n"
        "Course\n\n- first item\n- second"
    )
    assert record.url == "https://test.example/?curid=12"
    assert record.meta == {"page_id": "12", "revision_id": "129", "timestamp": "2020-01-01T00:00:00Z"}


def test_only_articles_become_documents(a_source: Source) -> None:
    raw = dump(
        page("A", 1, prose(1)),
        page("B", 2, "x", inside='<redirect title="A" />'),
        page("C (disambiguation)", 3, prose(3)),
        page("D", 4, "'''D''' may refer to {{disambiguation}}"),
        page("Talk:A", 5, prose(5), namespace=1),
        page("E", 6, ""),
        page("F", 7, "#REDIRECT [[A]]"),
        page("G", 8, "{{only a template}}"),
    )
    records, damage = read(mediawiki.read, raw, a_source)
    assert not damage
    assert texts(records) == [f"A\n\n{prose(1)}", ""]
    skips = Counter(record.reason for record in records if isinstance(record, Skip))
    assert skips == {"redirect": 2, "disambiguation": 2, "not an article": 1}
    assert [record.locator for record in records if isinstance(record, Rejection)] == ["page 6 'E'"]


def test_truncated_dump_keeps_the_pages_before(a_source: Source) -> None:
    raw = dump(*(page(f"P{i}", i, prose(i, 200)) for i in range(1, 30)))
    for cut in (raw[: len(raw) // 2], bz2.compress(raw, 1)[:-20], raw[: -len("</mediawiki>\n")]):
        records, damage = read(mediawiki.read, cut, a_source)
        assert texts(records)[0].startswith("P1\n\n")
        assert len(texts(records)) == len(re.findall(b"</page>", cut)) or cut[:3] == b"BZh"
        assert "cut off" in damage


def test_hostile_xml_is_refused(a_source: Source) -> None:
    bomb = b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + dump(page("A", 1, "&b;"))
    assert read(mediawiki.read, bomb, a_source)[1] == "XML declares a document type, which no MediaWiki export does"
    assert "not a MediaWiki export" in read(mediawiki.read, b"plain text", a_source)[1]
    assert "malformed" in read(mediawiki.read, dump(page("A", 1, "x</wrong>")), a_source)[1]


@pytest.mark.parametrize(
    "markup", ["{{" * 3000, "[[" * 3000, "{|\n" * 2000 + "x", "<b>" * 2000, "'''''" * 2000, "(" * 5000]
)
def test_pathological_wikitext_neither_hangs_nor_crashes(markup: str, a_source: Source) -> None:
    (record,), damage = read(mediawiki.read, dump(page("A", 1, markup.replace("<", "&lt;"))), a_source)
    assert not damage
    assert isinstance(record, Document | Rejection)


def test_real_wikipedia_dump(shared: Path, a_source: Source) -> None:
    raw = (shared / "corpora/wikipedia/enwiki-pages-articles-shortened.xml.bz2").read_bytes()
    records, damage = read(mediawiki.read, raw, a_source)
    found = Counter(type(record).__name__ for record in records)
    assert (found, damage) == ({"Document": 98, "Skip": 108}, "")
    everything = "\n".join(texts(records))
    assert not re.search(r"'''|\[\[|\]\]|\{\||</?ref|^\s*\|", re.sub(r"\$.*?\$", "", everything), re.MULTILINE)
    assert 2_700_000 < len(everything) < 3_200_000


# --- WARC and WET ------------------------------------------------------------------------------------------------


def record_of(kind: str, block: bytes, url: str = "http://a.example/", **headers: str) -> bytes:
    content = "application/http; msgtype=response" if kind == "response" else "text/plain"
    lines_ = {"WARC-Type": kind, "Content-Type": content, "WARC-Record-ID": "<urn:uuid:1>", "WARC-Target-URI": url,
              "WARC-Date": "2020-01-01T00:00:00Z", "Content-Length": str(len(block))} | headers  # fmt: skip
    head = "WARC/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines_.items())
    return head.encode() + b"\r\n" + block + b"\r\n\r\n"


def http(body: bytes, status: str = "200 OK", kind: str = "text/html; charset=utf-8", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}\r\n".encode() + body


def html(text: str, charset: str = "utf-8") -> bytes:
    return (
        f'<html><head><meta charset="{charset}"><title>T {text[:3]}</title></head><body><nav>menu</nav>'
        f"<main><p>{text}</p></main><script>x()</script></body></html>"
    ).encode(charset)


def test_html_responses_become_main_text(a_source: Source) -> None:
    raw = b"".join(
        gzip.compress(record)
        for record in (
            record_of("warcinfo", b"software: x\r\n"),
            record_of("request", b"GET / HTTP/1.1\r\n\r\n"),
            record_of("response", http(html(prose(1)))),
            record_of("response", http(html("Ünïcödé " + prose(2), "iso-8859-1"), kind="text/html")),
            record_of("response", http(gzip.compress(html(prose(3))), extra="Content-Encoding: gzip\r\n")),
            record_of("response", http(b"gone", status="404 Not Found")),
            record_of("response", http(b"%PDF", kind="application/pdf")),
            record_of("response", http(b"\xff\xfe not gzip", extra="Content-Encoding: gzip\r\n")),
            record_of("conversion", prose(4).encode()),
        )
    )
    records, damage = read(warc.read, raw, a_source)
    assert not damage
    assert [" ".join(text.split()) for text in texts(records)] == [
        prose(1), "Ünïcödé " + prose(2), prose(3), prose(4),
    ]  # fmt: skip
    assert [record.reason for record in records if isinstance(record, Skip)] == [
        "HTTP status 404", "not HTML: application/pdf",
    ]  # fmt: skip
    assert [record.reason for record in records if isinstance(record, Rejection)] == ["unreadable record"]


def test_truncated_warc_is_noticed_and_its_last_record_not_used(a_source: Source) -> None:
    whole = [record_of("response", http(html(prose(i)))) for i in range(5)]
    raw = b"".join(whole)
    assert read(warc.read, raw, a_source)[1] == ""
    assert read(warc.read, raw.rstrip(b"\r\n"), a_source)[1] == ""
    header_cut = b"".join(whole[:4]) + whole[4][:60]
    for cut, kept in ((raw[:-40], 4), (header_cut, 4), (b"".join(map(gzip.compress, whole))[:-30], 4)):
        records, damage = read(warc.read, cut, a_source)
        assert "cut off" in damage
        assert len(texts(records)) == kept
    assert "WARC" in read(warc.read, b"this is no archive\r\n" * 20, a_source)[1]


def test_real_common_crawl(shared: Path, a_source: Source) -> None:
    folder = shared / "corpora/common_crawl"
    records, damage = read(warc.read, (folder / "resiliparse-CC-MAIN-2020-34.warc.gz").read_bytes(), a_source)
    assert (len(texts(records)), damage) == (16, "")
    assert "О компании" in texts(records)[1]
    wet, damage = read(warc.read, (folder / "whirlwind.warc.wet.gz").read_bytes(), a_source)
    assert (len(texts(wet)), damage) == (1, "")


def test_reading_holds_one_record_at_a_time(a_source: Source) -> None:
    """A dump of 100 MB streams by without ever being in memory."""
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
