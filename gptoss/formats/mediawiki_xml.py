"""The pages of a MediaWiki XML export, streamed: what an article needs of each, in bounded memory.

In: the export format 0.3 to 0.11, whichever elements it has besides. Out: the head of the dump, then its pages; of a
page with its full history the last revision. From: expat, handler by handler: no tree is built.
Wrong: `DamagedError` where the XML breaks off or is malformed, for an encoding that expat cannot read, for a document
type declaration (no export has one, and without one there are no entities to abuse), for nesting or a single tag that
no export has. A text above the limit is dropped while it is read, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from gptoss.sources.streams import DamagedError, Stream

CHUNK = 1 << 16
MAX_TEXT = 4 * 2**20
"""Characters of a page; MediaWiki's own limit is 2 MiB."""
MAX_FIELD = 4096
"""Characters of any other element."""
MAX_DEPTH = 32
MAX_TAG = 1 << 20
"""Bytes of one tag: the parser keeps it whole."""

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
"""The elements whose characters are kept, by path."""


@dataclass
class Page:
    """One page, as it stands in the dump."""

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
        """An element begins."""
        name = name.rpartition(":")[2]
        if not self.path and name != "mediawiki":
            raise DamagedError(f"not a MediaWiki export: its root is <{name[:100]}>")
        if len(self.path) == MAX_DEPTH:
            raise DamagedError(f"XML is nested more than {MAX_DEPTH} deep, which no MediaWiki export is")
        self.path.append(name)
        if self.path == ["mediawiki", "page"]:
            self._page = Page()
        elif name == "revision":
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
        """An element ends."""
        if self._characters is not None:
            self._keep(FIELDS["/".join(self.path)], "".join(self._characters))
            self._characters = None
        self.path.pop()
        if self.path == ["mediawiki"] and name.rpartition(":")[2] == "page":
            self.pages.append(self._page)

    def _keep(self, name: str, value: str) -> None:
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
    """The pages in order; `export.site` is known before the first. Raises `DamagedError` after what comes before."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = CHUNK
    parser.StartElementHandler, parser.EndElementHandler = export.start, export.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = export.text, export.doctype
    fed = 0
    damage: DamagedError | None = None
    while damage is None:
        data = b""
        try:
            data = stream.read1(CHUNK)
            fed += len(data)
            parser.Parse(data, not data)
            if fed - parser.CurrentByteIndex > MAX_TAG:
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
        yield from export.pages
        export.pages.clear()
        if damage is None and not data:
            return
    raise damage
