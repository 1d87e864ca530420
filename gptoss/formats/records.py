"""The interface of a reader, and what a reader yields.

A reader is a module with a function `read(stream, origin, source) -> Iterator[Record]`:

- `stream` are the decompressed bytes of one raw file, whatever it was compressed with. Use `read1` and `readline`; the
  stream cannot seek.
- `origin` is the URL of the raw file, as the outputs show it.
- `source` is the configuration of the source, with the options of the format and the path of the prepared catalogue
  (`catalogue.open_catalogue`).

It yields one `Document`, `Rejection` or `Skip` per raw record, in the order of the file, and raises `DamagedError`
where the file cannot be read any further: what it yielded before counts. It holds one record in memory, never the file,
and depends on its arguments alone, as files are read in any order and in any process. Bad input never raises another
exception: that would be a bug, and end the stage.

To add a format, write such a module and list it in `gptoss.config.extensions.READERS`; nothing else names formats.
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
    """The text of one record. `license` and `language` default to those of the source; `locator` says where in the raw
    file the record is: `byte 1234`, `line 7`, `page 12`."""

    url: str
    title: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    license: str | None = None
    language: str | None = None
    locator: str = ""


@dataclass(frozen=True)
class Rejection:
    """A record that should have become a document but is broken: where it is, why, and the details."""

    locator: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Skip:
    """An intact record that is not a document by design, such as a redirect; only counted."""

    reason: str


Record = Document | Rejection | Skip
Reader = Callable[[Stream, str, SourceConfig], Iterator[Record]]

# Lone surrogates cannot be encoded as UTF-8, so Arrow refuses them; NUL ends strings in C libraries downstream.
FORBIDDEN = re.compile("[\ud800-\udfff\0]")


def clean(text: str) -> str:
    """Line ends as `\\n`; characters that cannot be stored as U+FFFD."""
    return LINE_END.sub("\n", FORBIDDEN.sub("\ufffd", text))
