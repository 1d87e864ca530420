"""Web archives to documents: HTML responses (WARC) and Common Crawl's extracted text (WET).

In: WARC 1.0/1.1 records. Out: of each `response` with status 200 and a media type of `mime_types` its main text
(`html.py`) after charset detection (`charsets.py`), or the whole text where the type is `text/plain`; of each
`conversion` its text as it is. Other record types are ignored.
`meta.locator` is the byte of the raw file where the record (in `.gz` its own gzip member) begins: from there it can be
read alone, as Common Crawl's index does.
Errors: FastWARC does not report a file that is cut off, so this module accounts for every byte: the last record must
end where the file ends, else the file is damaged and that record is not used.
References: ISO 28500 (WARC); FastWARC (Bevendorff et al. 2021).
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

HTTP_OK = 200
# Where a page without a media type must show that it is HTML.
MARKUP_SAMPLE = 1024
PLAIN = "text/plain"
# Bytes of a decoded page: its tree takes up to a hundred times as much memory. Crawlers cut off at 1 or 5 MiB.
MAX_HTML_BYTES = 8 * 2**20
LF_VERSION_LINE = re.compile(rb"WARC/[\d.]+\n")
# Nested blocks of a page: finding the main content takes quadratic time in their depth. Browsers stop here, too.
MAX_NESTING = 512
# Media types that are counted by name; the others are counted together, as a crawl contains thousands of them.
COUNTED_TYPES = frozenset(
    ["text/html", "application/xhtml+xml", "text/plain", "text/xml", "application/xml", "application/pdf", "text/css",
     "application/json", "application/rss+xml", "application/atom+xml", "image/jpeg", "image/png", "image/gif"]
)  # fmt: skip
BLOCK = re.compile(r"<(/?)(?:div|article)\b", re.IGNORECASE)


def read(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """Documents in the order of the records. Each is yielded when the next record shows that it was complete."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    tail = _Tail(stream)
    # HTTP is parsed apart from the archive (`_http_record`), so that a broken response does not end the iteration.
    records = iter(ArchiveIterator(tail, record_types=WarcRecordType.any_type, parse_http=False))
    pending: Record | None = None
    end = 0
    while (record := _next(records)) is not None and not isinstance(record, DamagedError):
        if pending is not None:
            yield pending
        end, pending = record.stream_pos + _header_bytes(record) + record.content_length, None
        if record.record_type in (WarcRecordType.response, WarcRecordType.conversion):
            convert = _response if record.record_type == WarcRecordType.response else _conversion
            pending = _document(record, convert, f"byte {stored_at(stream, record.stream_pos)}", source)
    # The last record counts only if all of its bytes were there.
    if pending is not None and tail.bytes >= end:
        yield pending
    if damage := record or tail.damage(end):
        raise damage


def _next(records: Iterator[Any]) -> Any:
    """The next record, None at the end, or a `DamagedError`, returned so that the caller can yield what is pending."""
    try:
        return next(records, None)
    except DamagedError as damage:
        return damage
    except OSError as error:
        return DamagedError(f"WARC structure is broken ({error})")


def _header_bytes(record: Any) -> int:
    """Length of the record's header block in the file, with version line and blank line. FastWARC does not report it,
    but keeps names and values as they are in the file."""
    version, blank = len("WARC/1.0\r\n"), len("\r\n")
    return version + blank + sum(len(f"{name}: {value}\r\n".encode()) for name, value in record.headers.items())


def _document(
    record: Any, convert: Callable[[Any, str, SourceConfig], Record], locator: str, source: SourceConfig
) -> Record:
    """One record to a document. Errors of the native parsers on hostile bytes reject that record only."""
    if not _url(record):
        return Rejection(locator, "no target URI", "a record without WARC-Target-URI")
    if record.content_length > MAX_RECORD_BYTES:
        return Rejection(locator, "too long", f"{record.content_length} bytes; the limit is {MAX_RECORD_BYTES}")
    try:
        return convert(record, locator, source)
    except DamagedError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        return Rejection(locator, "unreadable record", f"{type(error).__name__}: {error}")
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # a panic of the Rust parsers derives from BaseException
            raise
        return Rejection(locator, "unreadable record", f"the parser gave up: {error}")


def _url(record: Any) -> str:
    # Some crawlers write the URI in angle brackets, as the grammar of WARC 1.0 was misprinted.
    return str(record.headers.get("WARC-Target-URI", "")).strip("<>")


def _response(record: Any, locator: str, source: SourceConfig) -> Record:
    http = _http_record(record.reader.read())
    status = http.http_headers.status_code if http.http_headers else None
    if status != HTTP_OK:
        return Skip(f"HTTP status {status if 100 <= status < 600 else 'malformed'}" if status else "not HTTP")
    kind = (http.http_content_type or record.headers.get("WARC-Identified-Payload-Type") or "").strip().lower()
    if kind and kind not in source.mime_types:
        return Skip(f"media type {kind if kind in COUNTED_TYPES else 'other'}")
    body = http.reader.read(MAX_HTML_BYTES + 1)
    if not kind and b"<html" not in body[:MARKUP_SAMPLE].lower():
        return Skip("media type unknown")
    if len(body) > MAX_HTML_BYTES:
        return Rejection(locator, "too long", f"more than {MAX_HTML_BYTES} bytes when decoded")
    markup, charset = decode(body, http.http_charset)
    meta = _meta(record) | {"charset": charset} | ({"http_charset": http.http_charset} if http.http_charset else {})
    if kind == PLAIN:
        return Document(_url(record), _first_line(markup), markup.strip(), meta, locator=locator)
    if _nesting(markup) > MAX_NESTING:
        return Rejection(locator, "nested too deeply", f"blocks are nested more than {MAX_NESTING} deep")
    title, text = main_text(markup)
    return Document(_url(record), title, text, meta, locator=locator)


def _http_record(block: bytes) -> Any:
    """A response as a record of its own: if its transfer or content encoding is broken, the archive can be read on."""
    from fastwarc.warc import WarcRecord

    head = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\n"
    http = WarcRecord.from_bytes(f"{head}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n")
    http.parse_http(auto_decode="all")
    return http


def _nesting(markup: str) -> int:
    """How deep blocks are nested; 0 for a page with too few tags to be nested too deeply, which are most pages."""
    if markup.count("<") <= MAX_NESTING:
        return 0
    depth = deepest = 0
    for tag in BLOCK.finditer(markup):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _conversion(record: Any, locator: str, source: SourceConfig) -> Record:
    text = record.reader.read(MAX_RECORD_BYTES + 1).decode("utf-8", errors="replace")
    return Document(_url(record), _first_line(text), text.strip(), _meta(record), locator=locator)


def _first_line(text: str) -> str:
    """A title for text without markup, at most 200 characters. Only the beginning is searched: a line may be long."""
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
    """Forwards a stream, counts its bytes and remembers the last ones."""

    # Enough for the empty lines after a record; the damage check looks at nothing else.
    MAX_BYTES = 64

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.bytes = 0
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read1(size)
        if not self.bytes and LF_VERSION_LINE.match(data):
            raise DamagedError("line ends were changed from CRLF to LF, so its record lengths no longer match")
        self.bytes += len(data)
        self.last = (self.last + data[-self.MAX_BYTES :])[-self.MAX_BYTES :]
        return data

    def tell(self) -> int:
        return self.bytes

    def damage(self, end: int) -> DamagedError | None:
        """The damage of a stream whose last record should end at byte `end`, ignoring trailing blank lines; None for an
        intact one."""
        if self.bytes and not end:
            return DamagedError("no WARC record in it")
        rest = self.last[max(0, len(self.last) - (self.bytes - end)) :]
        if self.bytes < end or rest.strip(b"\r\n"):
            return DamagedError(f"cut off: by its headers the last record ends at byte {end}, the data at {self.bytes}")
        return None
