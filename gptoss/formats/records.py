"""What a reader of one raw file says: documents, rejections, skips, and that the file is damaged from here on.

A reader is `read(stream, origin, source) -> Iterator[Record]`: a stream of decompressed bytes (WARC and all other
formats alike), the URL of the raw file, and its source. It holds one record in memory, never the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gptoss.config.source import SourceConfig
from gptoss.sources.streams import LINE_END, Stream


@dataclass(frozen=True)
class Document:
    """Clean text of one record. `license` and `language` default to the source's; `locator` says where in the raw file
    the record is: `byte 1234`, `line 7`, `page 12`."""

    url: str
    title: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    license: str | None = None
    language: str | None = None
    locator: str = ""


@dataclass(frozen=True)
class Rejection:
    """A record that should have become a document but is broken: where it is, why, and what was seen."""

    locator: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Skip:
    """A sound record that is no document by design, such as a redirect; only counted."""

    reason: str


Record = Document | Rejection | Skip
Reader = Callable[[Stream, str, SourceConfig], Iterator[Record]]


FORBIDDEN = re.compile("[\ud800-\udfff\0]")


def clean(text: str) -> str:
    """Newlines as `\\n`; lone surrogates and NUL, which neither UTF-8 nor Arrow can hold, as U+FFFD."""
    return LINE_END.sub("\n", FORBIDDEN.sub("\ufffd", text))
