"""WARC and WET files: responses to documents, filters, damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.formats import warc
from gptoss.formats.records import Document, Rejection, Skip
from tests.formats.run_reader import read, texts
from tests.raw_files import prose


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


def test_html_responses_become_main_text(a_source: SourceConfig) -> None:
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
        "HTTP status 404", "media type application/pdf",
    ]  # fmt: skip
    assert [record.reason for record in records if isinstance(record, Rejection)] == ["unreadable record"]


def test_a_truncated_warc_is_damage_and_its_last_record_is_not_used(a_source: SourceConfig) -> None:
    whole = [record_of("response", http(html(prose(i)))) for i in range(5)]
    raw = b"".join(whole)
    assert read(warc.read, raw, a_source)[1] == ""
    assert read(warc.read, raw.rstrip(b"\r\n"), a_source)[1] == ""
    header_cut = b"".join(whole[:4]) + whole[4][:60]
    for cut, kept in ((raw[:-40], 4), (header_cut, 4), (b"".join(map(gzip.compress, whole))[:-30], 4)):
        records, damage = read(warc.read, cut, a_source)
        assert "cut off" in damage
        assert len(texts(records)) == kept
    assert "from CRLF to LF" in read(warc.read, raw.replace(b"\r\n", b"\n"), a_source)[1]
    assert "WARC" in read(warc.read, b"this is no archive\r\n" * 20, a_source)[1]


def test_real_common_crawl(shared: Path, a_source: SourceConfig) -> None:
    folder = shared / "corpora/common_crawl"
    records, damage = read(warc.read, (folder / "resiliparse-CC-MAIN-2020-34.warc.gz").read_bytes(), a_source)
    assert (len(texts(records)), damage) == (16, "")
    assert "пожарной безопасности" in texts(records)[1]
    wet, damage = read(warc.read, (folder / "whirlwind.warc.wet.gz").read_bytes(), a_source)
    assert (len(texts(wet)), damage) == (1, "")


def test_media_types_are_a_setting(a_source: SourceConfig) -> None:
    raw = record_of("response", http(b"plain words", kind="Text/Plain; charset=utf-8"))
    assert texts(read(warc.read, raw, a_source)[0]) == []
    (record,), _ = read(warc.read, raw, a_source.model_copy(update={"mime_types": ("text/plain",)}))
    assert isinstance(record, Document)
    assert (record.text, record.title) == ("plain words", "plain words")
    unnamed = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"
    (record, other), _ = read(
        warc.read,
        record_of("response", unnamed + html(prose(1))) + record_of("response", unnamed + b"GIF89a"),
        a_source,
    )
    assert isinstance(record, Document)
    assert other == Skip("media type unknown")


def test_the_locator_is_the_position_of_the_raw_record(a_source: SourceConfig) -> None:
    members = [gzip.compress(record_of("response", http(html(prose(i) * 50), kind="text/html"))) for i in range(5)]
    records, _ = read(warc.read, b"".join(members), a_source)
    for number, record in enumerate(records):
        assert isinstance(record, Document)
        assert record.locator == f"byte {sum(map(len, members[:number]))}"
        offset = int(record.locator.split()[1])
        (again,), _ = read(warc.read, b"".join(members)[offset : offset + len(members[number])], a_source)
        assert isinstance(again, Document)
        assert again.text == record.text
        assert record.meta == {"date": "2020-01-01T00:00:00Z", "record_id": "<urn:uuid:1>", "charset": "utf-8"}


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (http(b"<html>" + b"<div>" * 5000 + b"x"), "nested too deeply"),
        (http(b"<html><article>" * 100_000), "nested too deeply"),
        (http(b"<p>" + b"x" * (9 << 20)), "too long"),
        (http(gzip.compress(bytes(100 << 20)), extra="Content-Encoding: gzip\r\n"), "too long"),
        (http(b"no gzip", extra="Content-Encoding: gzip\r\n"), "unreadable record"),
    ],
)
def test_hostile_responses_are_rejected_alone(block: bytes, reason: str, a_source: SourceConfig) -> None:
    good = record_of("response", http(html(prose(1))))
    records, damage = read(warc.read, good + record_of("response", block) + good, a_source)
    assert not damage
    assert [record.reason for record in records if isinstance(record, Rejection)] == [reason]
    assert texts(records) == [texts(read(warc.read, good, a_source)[0])[0]] * 2


@pytest.mark.parametrize(
    "body", [b"", b"\0" * 1000, b"\xff" * 1000, b"<" * 5000, b"<html>\0<p>a\0b</p>", b"!?.,;" * 500]
)
def test_odd_pages_are_documents_or_empty(body: bytes, a_source: SourceConfig) -> None:
    (record,), damage = read(warc.read, record_of("response", http(body)), a_source)
    assert not damage
    assert isinstance(record, Document)
