"""A MediaWiki XML export (`pages-articles`) to documents: one article each, as plain text.

In: the pages of a dump, whole or in parts, compressed in one or many streams. Out: articles of namespace 0 in the order
of the dump; `url` contains the page's number, which stays valid when the page is renamed. Redirects, disambiguation
pages, pages of other namespaces and pages that are not wikitext are skipped.
Errors: a page without text, and one that is too long, is a rejection; `mediawiki_xml.py` says what damages a dump.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gptoss.config.source import SourceConfig
from gptoss.formats.mediawiki_xml import MAX_TEXT, Export, Page, Site, pages
from gptoss.formats.records import Document, Record, Rejection, Skip
from gptoss.formats.wikitext import plain_text
from gptoss.sources.streams import Stream

ARTICLES = "0"

# Disambiguation pages are marked by a template or a magic word in some wikis and by the title alone in others. The
# names are those of the largest Wikipedias.
DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:disambig\w*|dis|dab|hndis|geodis|begriffsklärung|пояснение|homonymie|disambigua|desambiguación)\s*[|}]"
    r"|\{\{[\w -]+ disambiguation\s*[|}]|__DISAMBIG__",
    re.IGNORECASE,
)
DISAMBIGUATION_TITLE = re.compile(
    r"\((?:disambiguation|Begriffsklärung|homonymie|disambigua|desambiguación|desambiguação|doorverwijspagina|"
    r"значения|пояснение|olika betydelser)\)$",
    re.IGNORECASE,
)
# Old exports have no <redirect/>, only the text; the word is translated.
REDIRECT = re.compile(r"\s*#\s*(?:redirect|weiterleitung|redirection|redirección|rinvia|doorverwijzing|"
                      r"перенаправление|пренасочване|виж)\b", re.IGNORECASE)  # fmt: skip


def read(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """Records in the order of the pages."""
    export = Export()
    for page in pages(stream, export):
        yield _record(page, export.site)


def _record(page: Page, site: Site) -> Record:
    locator = f"page {page.number}"
    # Old exports name neither namespace nor content model.
    if (page.namespace or ARTICLES) != ARTICLES:
        return Skip("not an article")
    if page.is_redirect or REDIRECT.match(page.text):
        return Skip("redirect")
    if (page.model or "wikitext") != "wikitext":
        return Skip("not wikitext")
    if page.is_too_long:
        return Rejection(locator, "too long", f"{page.title}: more than {MAX_TEXT} characters")
    if not page.title or not page.number or not page.text:
        return Rejection(locator, "no text", f"{page.title}: the page has no title, number or text")
    if DISAMBIGUATION_TITLE.search(page.title) or DISAMBIGUATION.search(page.text):
        return Skip("disambiguation")
    text = plain_text(page.text, site.namespaces)
    meta = {"page_id": page.number, "revision_id": page.revision, "timestamp": page.timestamp}
    return Document(_url(site, page.number), page.title, text and f"{page.title}\n\n{text}", meta, locator=locator)


def _url(site: Site, number: str) -> str:
    base = urlsplit(site.base)
    return f"{base.scheme or 'https'}://{base.netloc or site.database or 'unknown'}/?curid={number}"
