"""A MediaWiki XML export (`pages-articles`) to documents: one article each, as plain text.

In: the export format 0.3 to 0.11, streamed; a page is in memory, the dump never is. Out: articles of namespace 0 in the
order of the dump; `url` leads to the page by its number, whatever it is renamed to. Redirects, disambiguation pages
and pages that are not wikitext are skipped.
Wrong: XML that breaks off or is malformed damages the file from there on; a document type declaration (no export has
one) is refused, so entities cannot be abused. A page without text is a rejection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from stages.ingest.records import MAX_RECORD_BYTES, DamagedError, Document, Record, Rejection, Skip, Stream
from stages.ingest.wikitext import UnparsableError, plain_text
from stages.settings import Source

CHUNK = 1 << 16
PROLOGUE = 4096
"""Bytes before the root element in which a document type declaration would stand."""
ARTICLES = "0"

DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:disambig\w*|dis|dab|hndis|geodis|begriffsklärung|пояснение|homonymie|disambigua|desambiguación)\s*[|}]"
    r"|\{\{[\w -]+ disambiguation\s*[|}]|__DISAMBIG__",
    re.IGNORECASE,
)


@dataclass
class _Site:
    """What the head of a dump says about its wiki."""

    base: str = ""
    database: str = ""
    namespaces: dict[str, str] = field(default_factory=dict)
    """Number by lower-case name."""


def read(stream: Stream, origin: str, source: Source) -> Iterator[Record]:
    """Records in the order of the pages."""
    site = _Site()
    path: list[ElementTree.Element] = []
    for event, element in _events(stream):
        if event == "start":
            path.append(element)
            continue
        path.pop()
        name = _name(element)
        if name == "siteinfo":
            site = _site(element)
        elif name == "page":
            yield _page(element, site)
        if len(path) == 1:
            path[0].clear()  # the root would keep every page
        elif name == "revision":
            _forget_earlier_revisions(path[-1])
    if path:
        raise DamagedError(f"XML is cut off inside <{_name(path[-1])}>")


def _events(stream: Stream) -> Iterator[tuple[str, ElementTree.Element]]:
    """Starts and ends of elements. Raises `DamagedError` where the XML is malformed, after what comes before."""
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    for data in _checked(stream):
        try:
            parser.feed(data)
        except ElementTree.ParseError as error:
            raise DamagedError(f"XML is malformed ({error})") from None
        try:
            yield from parser.read_events()
        except ElementTree.ParseError as error:
            raise DamagedError(f"XML is malformed ({error})") from None


def _checked(stream: Stream) -> Iterator[bytes]:
    """The stream in chunks, refused when it declares a document type or is empty."""
    head = b""
    while len(head) < PROLOGUE and (data := stream.read1(PROLOGUE)):
        head += data
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    before, root, _ = head.decode("utf-16" if utf16 else "utf-8", errors="ignore").partition("<mediawiki")
    if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", before, re.IGNORECASE):
        raise DamagedError("XML declares a document type, which no MediaWiki export does")
    if not root:
        raise DamagedError(f"not a MediaWiki export: no <mediawiki> in its first {PROLOGUE} bytes")
    yield head
    while data := stream.read1(CHUNK):
        yield data


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _child(element: ElementTree.Element, name: str) -> ElementTree.Element | None:
    return next((child for child in element if _name(child) == name), None)


def _text(element: ElementTree.Element | None, name: str) -> str:
    child = None if element is None else _child(element, name)
    return (child.text or "") if child is not None else ""


def _site(siteinfo: ElementTree.Element) -> _Site:
    namespaces = _child(siteinfo, "namespaces")
    return _Site(
        base=_text(siteinfo, "base"),
        database=_text(siteinfo, "dbname"),
        namespaces={(child.text or "").lower(): child.get("key", "") for child in namespaces or ()},
    )


def _forget_earlier_revisions(page: ElementTree.Element) -> None:
    """A dump with full history: the last revision stands for the page."""
    revisions = [child for child in page if _name(child) == "revision"]
    for revision in revisions[:-1]:
        page.remove(revision)


def _page(page: ElementTree.Element, site: _Site) -> Record:
    title, number = _text(page, "title"), _text(page, "id")
    revision = _child(page, "revision")
    locator = f"page {number} {title!r}"
    if (_text(page, "ns") or ARTICLES) != ARTICLES:
        return Skip("not an article")
    if _child(page, "redirect") is not None:
        return Skip("redirect")
    if (_text(revision, "model") or "wikitext") != "wikitext":
        return Skip("not wikitext")
    wikitext = _text(revision, "text")
    if not title or not number or not wikitext:
        return Rejection(locator, "no text", "the page has no title, number or text")
    if wikitext[:12].lower().startswith("#redirect"):
        return Skip("redirect")
    if title.endswith("(disambiguation)") or DISAMBIGUATION.search(wikitext):
        return Skip("disambiguation")
    if len(wikitext) > MAX_RECORD_BYTES:
        return Rejection(locator, "too long", f"{len(wikitext)} characters")
    try:
        text = plain_text(wikitext, site.namespaces)
    except UnparsableError as error:
        return Rejection(locator, "wikitext", str(error))
    meta = {"page_id": number, "revision_id": _text(revision, "id"), "timestamp": _text(revision, "timestamp")}
    return Document(_url(site, number), title, text and f"{title}\n\n{text}", meta)


def _url(site: _Site, number: str) -> str:
    base = urlsplit(site.base)
    return f"{base.scheme or 'https'}://{base.netloc or site.database or 'unknown'}/?curid={number}"
