"""Configuration of a source of raw text: `sources.NAME`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, PositiveInt, field_validator

from gptoss.config.extensions import READERS, require_registered
from gptoss.config.section import Section

Rules = Literal["repeated_lines", "gopher", "repetition", "c4", "fineweb"]
"""Families of rules of `curate` that suit some kinds of text only."""


class SourceConfig(Section):
    """One source of raw text."""

    format: str
    """Name of a reader that `gptoss.config.extensions.READERS` lists."""
    # A hash pins the bytes: URLs without one, such as those of Common Crawl's lists, are trusted not to change.
    urls: tuple[str, ...]
    """fsspec URLs, local globs, `pypi:NAME==VERSION/MEMBER` (a member of a pinned archive; MEMBER may be a glob), each
    optionally with `#sha256=HEX` of the raw file. A URL that ends in `.paths.gz` or `.paths` is a list of URLs,
    relative to `prefix`."""
    prefix: str = ""
    # The sample depends on the seed only, so a run on a part of Common Crawl is reproducible.
    max_files: PositiveInt | None = None
    """Use a seeded sample of this many of the files that `urls` expand to."""
    license: str
    language: str
    """The language that the source claims; `curate` measures it."""
    licenses: tuple[str, ...] = ()
    """Globs of the licences whose documents are kept, such as `*/licenses/by/*`; empty for all."""
    rules: tuple[Rules, ...] = ("repeated_lines", "gopher", "repetition", "c4", "fineweb")
    """The families of rules that apply to this source, out of those that `curate` switches on. Those of C4 and FineWeb
    were made for web pages and would cut verse and formulas."""
    mime_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """`warc`: media types of the responses that become documents."""
    catalogue: str = ""
    """`gutenberg`: URL of the catalogue (`pg_catalog.csv` or the RDF archive) with language, rights and authors.
    `arxiv`: URL of the metadata snapshot with the licence of each paper in source archives."""
    chapters: bool = True
    """`gutenberg`: one document per chapter; false: one per book."""

    @field_validator("format")
    @classmethod
    def _reader_exists(cls, name: str) -> str:
        require_registered("format", name, READERS)
        return name


def _check_names(sources: dict[str, SourceConfig]) -> dict[str, SourceConfig]:
    if not sources:
        raise ValueError("sources is empty: name at least one source of text")
    for name in sources:
        # The name is part of file names, of DVC's stage names (ingest@NAME) and of MLflow's metric names.
        if not name.replace("_", "").isalnum():
            raise ValueError(f"sources.{name}: use letters, digits and underscores only")
    return sources


Sources = Annotated[dict[str, SourceConfig], AfterValidator(_check_names)]
