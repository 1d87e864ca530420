"""The pages of a MediaWiki XML export, streamed: the fields of each page that an article needs, in bounded memory.

In: the export format 0.3 to 0.11; other elements are ignored. Out: the head of the dump, then its pages; of a page with
its full history the last revision.
Errors: `DamagedError` where the XML breaks off or is malformed, for an encoding that expat cannot read, for a document
type declaration (no export has one, and without one there are no entities to abuse), for nesting or a single tag that
no export has. A text above the limit is dropped while it is read, and the page says so.
References: expat with handlers: no tree is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from gptoss.sources.streams import DamagedError, Stream

CHUNK = 1 << 16
# Characters of a page; MediaWiki's own limit is 2 MiB.
MAX_TEXT = 4 * 2**20
# Characters of any other element, and the number of namespaces of a wiki.
MAX_FIELD = 4096
# A page's text is at depth 4.
MAX_DEPTH = 32
# Bytes of one tag: the parser holds it in memory.
MAX_TAG = 1 << 20

# The elements whose characters are collected, by path, and the attribute of `Page` or `Site` that they become.
FIELDS = {
    "mediawiki/page/title": "title",
    "mediawiki/page/ns": "namespace",
    "mediawiki/page/id": "number",
    "mediawiki/page/revision/id": "revision",
    "mediawiki/page/revision/timestamp": "timestamp",
    "mediawiki/page/revision/model": "model",
    "mediawiki/page/revision/text": "text",
    "mediawiki/siteinfo/base": "base",
    "mediawiki/siteinfo/dbname": "database",
    "mediawiki/siteinfo/namespaces/namespace": "",
}


@dataclass
class Page:
    """One page, as the dump has it."""

    title: str = ""
    namespace: str = ""
    number: str = ""
    revision: str = ""
    timestamp: str = ""
    model: str = ""
    text: str = ""
    is_redirect: bool = False
    is_too_long: bool = False


@dataclass
class Site:
    """What the head of a dump says about its wiki."""

    base: str = ""
    database: str = ""
    namespaces: dict[str, str] = field(default_factory=dict)
    """Number by lower-case name."""


class Export:
    """Handlers of the parser: they collect pages in `pages`, which the reader empties."""

    def __init__(self) -> None:
        self.site = Site()
        self.pages: list[Page] = []
        self.path: list[str] = []
        self._page = Page()
        self._namespace = ""
        self._characters: list[str] | None = None
        self._length = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        # Some tools write the elements with a namespace prefix.
        name = name.rpartition(":")[2]
        if not self.path and name != "mediawiki":
            raise DamagedError(f"not a MediaWiki export: its root is <{name[:100]}>")
        if len(self.path) == MAX_DEPTH:
            raise DamagedError(f"XML is nested more than {MAX_DEPTH} deep, which no MediaWiki export is")
        self.path.append(name)
        if self.path == ["mediawiki", "page"]:
            self._page = Page()
        elif name == "revision":
            # A later revision of the page replaces the one before.
            self._page.text, self._page.is_too_long = "", False
        elif name == "redirect":
            self._page.is_redirect = True
        elif name == "namespace":
            self._namespace = attributes.get("key", "")
        self._characters, self._length = ([] if "/".join(self.path) in FIELDS else None), 0

    def text(self, data: str) -> None:
        """Characters of the innermost element."""
        if self._characters is None:
            return
        self._length += len(data)
        if self._length <= (MAX_TEXT if self.path[-1] == "text" else MAX_FIELD):
            self._characters.append(data)
        elif self.path[-1] == "text":
            self._page.is_too_long = True
            self._characters.clear()

    def end(self, name: str) -> None:
        if self._characters is not None:
            self._set(FIELDS["/".join(self.path)], "".join(self._characters))
            self._characters = None
        self.path.pop()
        if self.path == ["mediawiki"] and name.rpartition(":")[2] == "page":
            self.pages.append(self._page)

    def _set(self, name: str, value: str) -> None:
        if not name:
            if len(self.site.namespaces) < MAX_FIELD:
                self.site.namespaces[value.lower()] = self._namespace
        elif len(self.path) > 1 and self.path[1] == "siteinfo":
            setattr(self.site, name, value)
        else:
            setattr(self._page, name, value)

    def doctype(self, *_: Any) -> None:
        """A document type declaration begins."""
        raise DamagedError("XML declares a document type, which no MediaWiki export does")


def pages(stream: Stream, export: Export) -> Iterator[Page]:
    """The pages in order; `export.site` is known before the first. Raises `DamagedError` after the pages before the
    damage."""
    parser = expat.ParserCreate()
    # One call per text instead of one per line: calls into Python dominate the time of parsing.
    parser.buffer_text = True
    parser.buffer_size = CHUNK
    parser.StartElementHandler, parser.EndElementHandler = export.start, export.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = export.text, export.doctype
    bytes_read = 0
    damage: DamagedError | None = None
    while damage is None:
        data = b""
        try:
            data = stream.read1(CHUNK)
            bytes_read += len(data)
            parser.Parse(data, not data)
            # Bytes that expat has taken but not reported belong to a tag without an end so far.
            if bytes_read - parser.CurrentByteIndex > MAX_TAG:
                raise DamagedError(f"XML has a tag of more than {MAX_TAG} bytes, which no MediaWiki export has")
        except expat.ExpatError as error:
            what = f"XML is {'malformed' if data else 'cut off'} inside <{export.path[-1]}>" if export.path else ""
            damage = DamagedError(f"{what or 'not a MediaWiki export'} ({error})")
        except (ValueError, LookupError) as error:
            if export.path:
                raise
            damage = DamagedError(f"not a MediaWiki export ({error})")  # the XML declares an encoding expat cannot read
        except DamagedError as error:
            damage = error
        # Pages that were complete in this chunk come before the damage.
        yield from export.pages
        export.pages.clear()
        if damage is None and not data:
            return
    raise damage
