"""arXiv to documents: metadata or full text as JSON lines, or LaTeX sources; the licence is that of each paper.

In: the metadata snapshot that arXiv publishes (title and abstract become the document); unarXive full text: title,
abstract and sections, formulas put back as LaTeX between `$`, citation and figure marks removed; or archives of sources
(`latex/papers.py`). The content decides which, for JSON record by record.
Errors: a line that is not JSON, or JSON of neither schema, is a rejection with its line number.
References: unarXive 2022 (Saier, Krause and Färber 2023).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from gptoss.config.source import SourceConfig
from gptoss.formats import archives
from gptoss.formats.latex import papers
from gptoss.formats.latex.papers import ABSTRACT_PAGE, other_kind
from gptoss.formats.records import Document, Record, Rejection, Skip
from gptoss.sources.streams import MAX_RECORD_BYTES, Stream, lines

TEX_STARTS = (b"\\", b"%")
# unarXive's placeholder for a formula, citation, figure, table, …
MARK = re.compile(r"[ \t]*\{\{(?P<kind>[a-z_]+):(?P<id>[^{}]*)\}\}")
CITATIONS = re.compile(r"[ \t]*\{\{cite:[^{}]*\}\}(?:[\s,;]*\{\{cite:[^{}]*\}\})*")
EMPTY_BRACKETS = re.compile(r"[ \t]*[\[(][\s,;]*[\])]")
SPACE_BEFORE_STOP = re.compile(r"[ \t]+([.,;:)\]])")
SPACES = re.compile(r"[ \t]{2,}")


class MalformedError(ValueError):
    """A record of neither schema."""


def read(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """Documents in the order of the file."""
    head = stream.peek(512)
    if archives.is_tar(head) or archives.is_zip(head) or other_kind(head) or head.lstrip()[:1] in TEX_STARTS:
        return papers.read(stream, origin, source)
    return _json_lines(stream)


def _json_lines(stream: Stream) -> Iterator[Record]:
    for number, line in lines(stream):
        locator = f"line {number}"
        if line is None:
            yield Rejection(locator, "too long", f"more than {MAX_RECORD_BYTES} bytes in one line")
            continue
        if not line.strip():
            continue
        try:
            yield _paper(json.loads(line), locator)
        except MalformedError as error:  # before its base class ValueError
            yield Rejection(locator, "unknown schema", str(error))
        except ValueError as error:  # not JSON, not UTF-8, or an integer of more digits than Python converts
            yield Rejection(locator, "not JSON", str(error))
        except RecursionError:
            yield Rejection(locator, "not JSON", "nested too deeply")


def _paper(record: Any, locator: str) -> Record:
    if not isinstance(record, dict):
        raise MalformedError(f"a JSON {type(record).__name__}, not an object")
    # Full text first: these records have an `abstract`, too.
    if "body_text" in record:
        return _full_text(record, locator)
    if "abstract" in record and "title" in record:
        return _metadata(record, locator)
    raise MalformedError(f"neither `abstract` and `title` nor `body_text` among: {', '.join(sorted(record))[:200]}")


def _metadata(record: dict[str, Any], locator: str) -> Record:
    title, abstract = _one_line(_string(record, "title")), _paragraphs(_string(record, "abstract"))
    # arXiv has no field for withdrawal; the notice replaces or begins the abstract.
    if "has been withdrawn" in abstract[:300]:
        return Skip("withdrawn")
    return _document(record, title, [abstract], locator)


def _full_text(record: dict[str, Any], locator: str) -> Record:
    metadata = record.get("metadata")
    if not isinstance(metadata, dict):
        raise MalformedError("full text without `metadata`")
    abstract = record.get("abstract")
    if isinstance(abstract, dict):
        abstract = abstract.get("text")
    paragraphs = [_paragraphs(abstract)] if isinstance(abstract, str) else []
    formulas = _formulas(record.get("ref_entries"))
    heading = ""
    for entry in _list_of_objects(record, "body_text"):
        # Every paragraph names its section; the heading is written once.
        section = _one_line(_without_marks(str(entry.get("section") or ""), formulas))
        if section and section != heading:
            paragraphs.append(heading := section)
        paragraphs.append(_without_marks(_string(entry, "text"), formulas))
    return _document(metadata, _one_line(_string(metadata, "title")), paragraphs, locator)


def _document(metadata: dict[str, Any], title: str, paragraphs: list[str], locator: str) -> Document:
    identifier = metadata.get("id")
    # Some dumps write the id as a number. JSON's `true` is an int in Python.
    if not isinstance(identifier, str | float | int) or isinstance(identifier, bool):
        raise MalformedError("no `id`")
    fields = {
        key: _one_line(metadata[key])
        for key in ("categories", "update_date", "authors")
        if isinstance(metadata.get(key), str)
    }
    license_ = metadata.get("license")
    return Document(
        url=f"{ABSTRACT_PAGE}{identifier}",
        title=title,
        text="\n\n".join([title, *(paragraph for paragraph in paragraphs if paragraph)]),
        meta={"arxiv_id": str(identifier), **fields} | ({"date": date} if (date := _date(metadata)) else {}),
        license=license_ if isinstance(license_, str) and license_ else None,
        locator=locator,
    )


def _date(metadata: dict[str, Any]) -> str:
    """The date of the first version, else of the last change of the record; empty when neither is known."""
    versions = metadata.get("versions")
    first = versions[0] if isinstance(versions, list) and versions else None
    created = first.get("created") if isinstance(first, dict) else None
    for date in (created, metadata.get("update_date")):
        if isinstance(date, str) and date:
            return _one_line(date)
    return ""


def _formulas(entries: Any) -> dict[str, str]:
    """The LaTeX of every formula by the id of its mark."""
    if not isinstance(entries, dict):
        return {}
    return {
        key: entry["latex"].strip()
        for key, entry in entries.items()
        if isinstance(entry, dict) and entry.get("type") == "formula" and isinstance(entry.get("latex"), str)
    }


def _without_marks(text: str, formulas: dict[str, str]) -> str:
    """Text with its formulas, and without the other marks and the brackets and commas that they leave behind."""

    def replace(mark: re.Match[str]) -> str:
        formula = formulas.get(mark["id"]) if mark["kind"] == "formula" else None
        return f" ${formula}$" if formula else ""

    if "{{" not in text:
        return text.strip()
    # Citations first, then the brackets they leave empty, and formulas last: brackets inside LaTeX must stay.
    text = MARK.sub(replace, EMPTY_BRACKETS.sub("", CITATIONS.sub("", text)))
    return SPACES.sub(" ", SPACE_BEFORE_STOP.sub(r"\1", text)).strip()


def _string(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise MalformedError(f"`{key}` is {type(value).__name__}, not a string")
    return value


def _list_of_objects(record: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = record[key]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise MalformedError(f"`{key}` is not a list of objects")
    return value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _paragraphs(text: str) -> str:
    """An abstract with its hard-wrapped lines joined. As on arXiv's pages, an indented line begins a paragraph."""
    marked = re.sub(r"\n(?=[ \t]+\S)", "\n\n", text.strip())
    return "\n\n".join(_one_line(paragraph) for paragraph in marked.split("\n\n") if paragraph.strip())
