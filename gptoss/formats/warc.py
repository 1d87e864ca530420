"""Web archives to documents: HTML responses (WARC) and Common Crawl's extracted text (WET).

In: WARC 1.0/1.1 records (ISO 28500). Out: of each `response` with status 200 and a media type of `mime_types` its main
text (`html.py`) after charset detection (`charsets.py`), or the whole text where the type is `text/plain`; of each
`conversion` its text as it is. Other record types are passed over.
`meta.locator` gives the byte of the raw file where the record (in `.gz` its own gzip member) begins: from there it can
be read alone, as Common Crawl's index does.
Wrong: FastWARC stops in silence where a file is cut off, so the bytes are accounted for: the last record must end
where the file ends, else the file is damaged and that record is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gptoss.config.source import SourceConfig
from gptoss.formats.html import main_text
from gptoss.formats.records import Document, Record, Rejection, Skip
from gptoss.sources.charsets import decode
from gptoss.sources.compression import stored_at
from gptoss.sources.streams import MAX_RECORD_BYTES, DamagedError, Stream

OK = 200
MARKUP_SAMPLE = 1024
PLAIN = "text/plain"
MAX_HTML_BYTES = 8 * 2**20
"""Of a page, when decoded: its tree takes up to a hundred times as much. Crawlers cut off at 1 or 5 MiB."""
VERSION_LINE_OF_AN_EDITOR = re.compile(rb"WARC/[\d.]+\n")
MAX_NESTING = 512
"""Of blocks: finding the main content takes quadratic time in their depth. Browsers stop here, too."""
COUNTED = frozenset(
    ["text/html", "application/xhtml+xml", "text/plain", "text/xml", "application/xml", "application/pdf", "text/css",
     "application/json", "application/rss+xml", "application/atom+xml", "image/jpeg", "image/png", "image/gif"]
)  # fmt: skip
"""Media types that are counted by name: a crawl holds thousands of others."""
BLOCK = re.compile(r"<(/?)(?:div|article)\b", re.IGNORECASE)


def read(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """Documents in the order of the records; each is handed on when the next record shows that it was whole."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    tail = _Tail(stream)
    records = iter(ArchiveIterator(tail, record_types=WarcRecordType.any_type, parse_http=False))
    pending: Record | None = None
    end = 0
    while (record := _next(records)) is not None and not isinstance(record, DamagedError):
        if pending is not None:
            yield pending
        end, pending = record.stream_pos + _header_bytes(record) + record.content_length, None
        if record.record_type in (WarcRecordType.response, WarcRecordType.conversion):
            make = _response if record.record_type == WarcRecordType.response else _conversion
            pending = _document(record, make, f"byte {stored_at(stream, record.stream_pos)}", source)
    if pending is not None and tail.bytes >= end:
        yield pending
    if damage := record or tail.damage(end):
        raise damage


def _next(records: Iterator[Any]) -> Any:
    """The next record, None at the end, or the damage that stands in its place."""
    try:
        return next(records, None)
    except DamagedError as damage:
        return damage
    except OSError as error:
        return DamagedError(f"WARC structure is broken ({error})")


def _header_bytes(record: Any) -> int:
    """Length of the record's header block as it stands in the file, version line and blank line included."""
    version, blank = len("WARC/1.0\r\n"), len("\r\n")
    return version + blank + sum(len(f"{name}: {value}\r\n".encode()) for name, value in record.headers.items())


def _document(
    record: Any, make: Callable[[Any, str, SourceConfig], Record], place: str, source: SourceConfig
) -> Record:
    """One record to a document; what the native parsers throw at hostile bytes rejects that record only."""
    if not _url(record):
        return Rejection(place, "no target URI", "a record without WARC-Target-URI")
    if record.content_length > MAX_RECORD_BYTES:
        return Rejection(place, "too long", f"{record.content_length} bytes; the limit is {MAX_RECORD_BYTES}")
    try:
        return make(record, place, source)
    except DamagedError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        return Rejection(place, "unreadable record", f"{type(error).__name__}: {error}")
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # a panic of the Rust parsers derives from BaseException
            raise
        return Rejection(place, "unreadable record", f"the parser gave up: {error}")


def _url(record: Any) -> str:
    return str(record.headers.get("WARC-Target-URI", "")).strip("<>")


def _response(record: Any, place: str, source: SourceConfig) -> Record:
    http = _http_record(record.reader.read())
    status = http.http_headers.status_code if http.http_headers else None
    if status != OK:
        return Skip(f"HTTP status {status if 100 <= status < 600 else 'malformed'}" if status else "not HTTP")
    kind = (http.http_content_type or record.headers.get("WARC-Identified-Payload-Type") or "").strip().lower()
    if kind and kind not in source.mime_types:
        return Skip(f"media type {kind if kind in COUNTED else 'other'}")
    body = http.reader.read(MAX_HTML_BYTES + 1)
    if not kind and b"<html" not in body[:MARKUP_SAMPLE].lower():
        return Skip("media type unknown")
    if len(body) > MAX_HTML_BYTES:
        return Rejection(place, "too long", f"more than {MAX_HTML_BYTES} bytes when decoded")
    markup, charset = decode(body, http.http_charset)
    meta = _meta(record) | {"charset": charset} | ({"http_charset": http.http_charset} if http.http_charset else {})
    if kind == PLAIN:
        return Document(_url(record), _first_line(markup), markup.strip(), meta, locator=place)
    if _nesting(markup) > MAX_NESTING:
        return Rejection(place, "nested too deeply", f"blocks are nested more than {MAX_NESTING} deep")
    title, text = main_text(markup)
    return Document(_url(record), title, text, meta, locator=place)


def _http_record(block: bytes) -> Any:
    """A response apart from its archive: when its transfer or content encoding is broken, reading on still works."""
    from fastwarc.warc import WarcRecord

    head = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\n"
    http = WarcRecord.from_bytes(f"{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n")
    http.parse_http(auto_decode="all")
    return http


def _nesting(markup: str) -> int:
    """How deep blocks are nested. Most pages have so few that they need not be looked at."""
    if markup.count("<") <= MAX_NESTING:
        return 0
    depth = deepest = 0
    for tag in BLOCK.finditer(markup):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _conversion(record: Any, place: str, source: SourceConfig) -> Record:
    text = record.reader.read(MAX_RECORD_BYTES + 1).decode("utf-8", errors="replace")
    return Document(_url(record), _first_line(text), text.strip(), _meta(record), locator=place)


def _first_line(text: str) -> str:
    return text[:10_000].lstrip().partition("\n")[0].strip()[:200]


def _meta(record: Any) -> dict[str, str]:
    headers = {
        "date": "WARC-Date",
        "record_id": "WARC-Record-ID",
        "languages": "WARC-Identified-Content-Language",
        "truncated": "WARC-Truncated",
    }
    return {key: record.headers[name] for key, name in headers.items() if name in record.headers}


class _Tail:
    """Passes a stream on, counting its bytes and remembering the last ones."""

    KEPT = 64

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.bytes = 0
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read1(size)
        if not self.bytes and VERSION_LINE_OF_AN_EDITOR.match(data):
            raise DamagedError("line ends were changed from CRLF to LF, so the lengths of its records are not true")
        self.bytes += len(data)
        self.last = (self.last + data[-self.KEPT :])[-self.KEPT :]
        return data

    def tell(self) -> int:
        return self.bytes

    def damage(self, end: int) -> DamagedError | None:
        """What is wrong with a stream whose last record should end at byte `end`, give or take the empty lines."""
        if self.bytes and not end:
            return DamagedError("no WARC record in it")
        rest = self.last[max(0, len(self.last) - (self.bytes - end)) :]
        if self.bytes < end or rest.strip(b"\r\n"):
            return DamagedError(f"cut off: by its headers the last record ends at byte {end}, the data at {self.bytes}")
        return None
