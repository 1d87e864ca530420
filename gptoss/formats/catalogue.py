"""Catalogues of works, which readers look up: title, authors, language, licence, subjects, date.

In: arXiv's metadata snapshot (JSON lines), Project Gutenberg's `pg_catalog.csv`, or its RDF archive (a tar with one RDF
file per book), each plain or compressed, at any URL that raw files may have.
Out: `prepare` writes a table to disk (SQLite, one row per work, looked up by id) in the stage's own folder and returns
the source with this table as its `catalogue`; `open_catalogue` opens it where the raw files are read, in any process.
One work is in memory at a time.
Errors: `DataError` for a catalogue in none of these formats, or a damaged one. Single entries that cannot be read are
left out; their works get the licence and language of the source.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gptoss.config.source import SourceConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import DataError, UserError
from gptoss.formats import archives
from gptoss.formats.records import Rejection
from gptoss.sources.compression import HashingStream, decompressed
from gptoss.sources.fetch import RawFileOpener, check_sha256
from gptoss.sources.file_versions import with_versions
from gptoss.sources.network import without_password
from gptoss.sources.resolve_urls import expand_urls
from gptoss.sources.streams import DamagedError, Stream, lines

# Rows per INSERT: SQLite is fastest with large batches, and 10,000 entries take a few MB.
BATCH_ROWS = 10_000
# The RDF file of a book has about 20 KB.
MAX_RDF_BYTES = 4 * 2**20
PUBLIC_DOMAIN = re.compile(r"public domain", re.IGNORECASE)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TERMS = "{http://purl.org/dc/terms/}"
GUTENBERG = "{http://www.gutenberg.org/2009/pgterms/}"


@dataclass(frozen=True)
class Entry:
    """One work. Fields are empty where the catalogue says nothing; `license` is also empty for the public domain, so
    that the name the source uses for it applies."""

    title: str = ""
    author: str = ""
    language: str = ""
    license: str = ""
    date: str = ""
    subjects: str = ""
    type: str = ""
    rights: str = ""
    withdrawn: bool = False

    def meta(self) -> dict[str, str]:
        """What goes into a document's `meta`."""
        named = {"authors": self.author, "date": self.date, "categories": self.subjects, "rights": self.rights}
        return {name: value for name, value in named.items() if value}


class Catalogue:
    """A prepared catalogue, opened for reading."""

    def __init__(self, path: Path) -> None:
        # immutable=1 skips locking, which network file systems may not support; nobody writes a prepared table.
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)

    def get(self, key: str) -> Entry | None:
        """The work with this id, such as `1342` or `hep-th/9901001`."""
        row = self._connection.execute("SELECT entry FROM works WHERE id = ?", (key,)).fetchone()
        return Entry(**json.loads(row[0])) if row else None


def open_catalogue(source: SourceConfig) -> Catalogue | None:
    """The catalogue that `prepare` wrote into the source; None when the source has none."""
    return _opened(source.catalogue) if source.catalogue else None


@lru_cache(maxsize=4)
def _opened(path: str) -> Catalogue:
    # Readers ask once per raw file; a process that reads thousands of them keeps one connection.
    return Catalogue(Path(path))


def prepare(source: SourceConfig, folder: Path) -> SourceConfig:
    """The source with a table in `folder` as its catalogue, written unless the table of this version of the catalogue
    exists. Raises `DataError`, `UserError` when the URL does not mean one file, and what finding and fetching it
    raise."""
    if not source.catalogue:
        return source
    files = expand_urls(source.model_copy(update={"urls": (source.catalogue,), "max_files": None}), 0)
    if len(files) != 1:
        raise UserError(
            f"catalogue = {without_password(source.catalogue)}: it means {len(files)} files",
            "write the path or URL of one file: a source has one catalogue",
        )
    (versioned,) = with_versions(files)
    file = versioned.file
    identity = json.dumps([file.url, file.sha256, versioned.version])
    digest = hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    target = folder / f"catalogue-{digest}.sqlite"
    if not target.exists():
        with RawFileOpener(folder) as opener, opener.open(file) as raw, atomic_file(target) as partial:
            hashing = HashingStream(raw)
            try:
                write_table(partial, entries(decompressed(hashing)))
            except DamagedError as error:
                raise DataError(
                    f"{file.url}: {error}", "fetch the catalogue again, or correct `catalogue` of the source"
                ) from None
            check_sha256(file.url, hashing.sha256(), file.sha256)
    return source.model_copy(update={"catalogue": str(target)})


def write_table(path: Path, works: Iterable[tuple[str, Entry]]) -> None:
    """Write the table. Of several entries with one id the last one counts. Raises `DamagedError` without any entry."""
    rows = ((key, json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False)) for key, entry in works)
    with closing(sqlite3.connect(path)) as connection:
        # A table that is not completed is never renamed to its final name, so a journal would protect nothing.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("CREATE TABLE works (id TEXT PRIMARY KEY, entry TEXT) WITHOUT ROWID")
        while batch := list(islice(rows, BATCH_ROWS)):
            connection.executemany("INSERT OR REPLACE INTO works VALUES (?, ?)", batch)
        connection.commit()
        if connection.execute("SELECT 1 FROM works LIMIT 1").fetchone() is None:
            raise DamagedError("no entry in the catalogue")


def entries(stream: Stream) -> Iterator[tuple[str, Entry]]:
    """`(id, entry)` of every work of a catalogue. The first bytes decide its format."""
    head = stream.peek(512)
    if archives.is_tar(head) or archives.is_zip(head):
        yield from _rdf_archive(stream)
    elif head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{"):
        yield from _json_lines(stream)
    elif head.lstrip(b"\xef\xbb\xbf").startswith(b"Text#"):
        yield from _csv(stream)
    else:
        raise DamagedError("not a catalogue: neither JSON lines, nor pg_catalog.csv, nor an archive of RDF files")


def _json_lines(stream: Stream) -> Iterator[tuple[str, Entry]]:
    for _, line in lines(stream):
        try:
            record = json.loads(line or b"null")
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            yield record["id"], _arxiv_entry(record)


def _arxiv_entry(record: dict[str, Any]) -> Entry:
    def text(key: str) -> str:
        value = record.get(key)
        return " ".join(value.split()) if isinstance(value, str) else ""

    versions = record.get("versions")
    first = versions[0] if isinstance(versions, list) and versions and isinstance(versions[0], dict) else {}
    return Entry(
        title=text("title"),
        author=text("authors"),
        license=text("license"),
        date=str(first.get("created") or text("update_date")),
        subjects=text("categories"),
        # arXiv has no field for it. Only the beginning counts: later mentions are about other papers.
        withdrawn="has been withdrawn" in text("abstract")[:300] or "withdrawn" in text("comments")[:100].lower(),
    )


def _csv(stream: Stream) -> Iterator[tuple[str, Entry]]:
    """`Text#,Type,Issued,Title,Language,Authors,Subjects,LoCC,Bookshelves`, as published."""
    try:
        for row in csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")):
            if (number := (row.get("Text#") or "").strip()).isdigit():
                entry = Entry(
                    title=" ".join((row.get("Title") or "").split()),
                    author=row.get("Authors") or "",
                    language=(row.get("Language") or "").split(";")[0].strip(),
                    date=row.get("Issued") or "",
                    subjects=row.get("Subjects") or "",
                    type=row.get("Type") or "",
                )
                yield number, entry
    except csv.Error as error:
        raise DamagedError(f"CSV is malformed ({error})") from None


def _rdf_archive(stream: Stream) -> Iterator[tuple[str, Entry]]:
    for member in archives.members(stream, lambda name: name.endswith(".rdf"), MAX_RDF_BYTES):
        # No published file declares entities, which could expand without bound (ElementTree does not limit them).
        if isinstance(member, Rejection) or b"<!DOCTYPE" in member.data or b"<!ENTITY" in member.data:
            continue
        try:
            book = ElementTree.fromstring(member.data).find(f"{GUTENBERG}ebook")
        except (ElementTree.ParseError, ValueError, LookupError):  # the last two: an encoding it cannot read
            continue
        number = re.search(r"(\d+)$", book.get(f"{RDF}about", "")) if book is not None else None
        if book is not None and number:
            yield number[1], _rdf_entry(book)


def _rdf_entry(book: ElementTree.Element) -> Entry:
    def values(path: str) -> list[str]:
        return [" ".join((element.text or "").split()) for element in book.findall(path)]

    def first(path: str) -> str:
        return next(iter(values(path)), "")

    value = f"{RDF}Description/{RDF}value"
    rights = first(f"{TERMS}rights")
    return Entry(
        title=first(f"{TERMS}title"),
        author="; ".join(values(f"{TERMS}creator/{GUTENBERG}agent/{GUTENBERG}name")),
        language=first(f"{TERMS}language/{value}"),
        license="" if PUBLIC_DOMAIN.match(rights) else rights,
        date=first(f"{TERMS}issued"),
        subjects="; ".join(values(f"{TERMS}subject/{value}")),
        type=first(f"{TERMS}type/{value}"),
        rights=rights,
    )
