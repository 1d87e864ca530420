"""Source archives to papers: arXiv's bulk tars of submissions, single submissions, and trees of LaTeX files.

In: a tar or zip of submissions named after their arXiv ids (`2001/2001.00001.gz`: a gzipped TeX file, or a gzipped tar
of a tree; `.pdf` where there is no source), a tar or zip of one tree, or one TeX file. Out: one document per paper,
with licence, categories and date from the source's `catalogue` if it has one.
Errors: a submission that cannot be read is a rejection and does not affect its neighbours; PDF, PostScript and HTML
submissions and withdrawn ones are skipped by design. A text file that exceeds the limit together with the others of its
paper is a rejection, and the paper is made of the others. Nothing is written to disk; `archives.py` says what archives
are refused.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gptoss.config.source import SourceConfig
from gptoss.formats import archives, catalogue
from gptoss.formats.archives import Member
from gptoss.formats.latex.paper_source import assembled
from gptoss.formats.latex.to_text import to_text
from gptoss.formats.records import Document, Record, Rejection, Skip
from gptoss.sources.streams import LINE_END, MAX_RECORD_BYTES, BytesIterator, DamagedError, Stream, read_up_to

ABSTRACT_PAGE = "https://arxiv.org/abs/"
# Names of submissions: ids since 2007 (`2001.00001`), ids before (`hep-th9901001`), each with an optional version.
SUBMISSION = re.compile(
    r"(?P<id>\d{4}\.\d{4,5}|[a-z][a-z-]*(?:\.[A-Z]{2})?\d{7})(?:v\d+)?(?P<kind>\.tar\.gz|\.tgz|\.gz|\.pdf|\.tar|\.tex|\.zip)?$"
)
OLD_ID = re.compile(r"([a-z-]+(?:\.[A-Z]{2})?)(\d{7})")
TEXT_FILES = (".tex", ".ltx", ".latex", ".def", ".txt")
# Signatures of files without TeX. PostScript of Windows drivers begins with a control character.
OTHER_KINDS = {b"%PDF": "PDF only", b"%!PS": "PostScript only", b"\x04%!P": "PostScript only"}
WITHDRAWN = re.compile(r"\b(?:withdrawn|withdraw)\b", re.IGNORECASE)
# Characters: a notice of withdrawal is shorter, a paper longer.
MAX_NOTICE = 3_000
# Characters below which a text is not a paper.
MIN_TEXT = 200
# Plain bytes of one submission, with its figures.
MAX_TREE_BYTES = 1 << 30
CHUNK = 1 << 18


def read(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """Papers of a tar or zip, or the one paper that the stream is."""
    works = catalogue.open_catalogue(source)
    head = stream.peek(512)
    if not (archives.is_zip(head) or archives.is_tar(head)):
        yield _single(stream, origin, works)
        return
    # A member that is named like a submission is one; the others are one tree, unless there are submissions, too.
    tree, papers = _Tree(), 0
    damage: DamagedError | None = None
    try:
        for member in archives.members(stream, _is_wanted):
            if isinstance(member, Rejection):
                yield member
            elif _paper_id(member.name) and not member.name.endswith(".tex"):
                papers += 1
                yield from _submission(member, works)
            else:
                tree.add(member)
    except DamagedError as error:
        damage = error
    if tree.files and not damage:
        yield from _tree_beside(tree, origin, papers, works)
    if damage:
        raise damage
    if not tree.files and not papers:
        yield Rejection("whole file", "no paper", "an archive with neither submissions nor TeX files")


@dataclass
class _Tree:
    """The text files of one paper: those in memory, at most `MAX_RECORD_BYTES` together, and those beyond the limit."""

    files: list[Member] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)
    bytes: int = 0

    def add(self, member: Member) -> None:
        """Add a file, or a rejection if it exceeds the limit together with the others."""
        if self.bytes + len(member.data) > MAX_RECORD_BYTES:
            detail = f"{len(member.data)} bytes beside {self.bytes} of the same paper; the limit is {MAX_RECORD_BYTES}"
            self.refused.append(Rejection(member.name, "too long", detail))
        else:
            self.bytes += len(member.data)
            self.files.append(member)


def _tree_beside(tree: _Tree, origin: str, papers: int, works: catalogue.Catalogue | None) -> Iterator[Record]:
    """The members that are not submissions: one paper, or in an archive of submissions nothing."""
    if papers:
        yield from (Skip("not a submission") for _ in (*tree.files, *tree.refused))
    else:
        yield from tree.refused
        yield _paper(tree.files, _paper_id(origin), origin, "", works)


def _is_wanted(name: str) -> bool:
    return _paper_id(name) != "" or _is_text(name)


def _is_text(name: str) -> bool:
    base = posixpath.basename(name)
    # `._x` are resource forks of macOS. Files without a suffix are often LaTeX in old submissions.
    return not base.startswith("._") and (
        base.lower().endswith(TEXT_FILES) or "." not in base or base.lower().startswith("00readme")
    )


def _paper_id(name: str) -> str:
    """The arXiv id in the name of a submission: `2001.00001`, `hep-th/9901001`; empty when there is none."""
    base = posixpath.basename(name)
    match = SUBMISSION.fullmatch(base)
    if match is None:
        return ""
    old = OLD_ID.fullmatch(match["id"])
    return f"{old[1]}/{old[2]}" if old else match["id"]


def _submission(member: Member, works: catalogue.Catalogue | None) -> Iterator[Record]:
    """One submission of a bulk archive. Damage to it rejects it alone."""
    try:
        yield from _unpacked(member, works)
    except DamagedError as error:
        yield Rejection(f"member {member.name}", "damaged submission", str(error))


def _unpacked(member: Member, works: catalogue.Catalogue | None) -> Iterator[Record]:
    plain = io.BufferedReader(BytesIterator(_plain(member.data)), CHUNK)
    head = plain.peek(512)
    if kind := other_kind(head):
        yield Skip(kind)
        return
    tree = _Tree()
    if archives.is_tar(head) or archives.is_zip(head):
        for found in archives.members(plain, _is_text):
            if isinstance(found, Rejection):
                yield replace(found, locator=f"member {member.name}!{found.locator}")
            else:
                tree.add(found)
    else:
        tree.files.append(Member("paper.tex", _whole(plain)))
    yield from (replace(refused, locator=f"member {member.name}!{refused.locator}") for refused in tree.refused)
    yield _paper(tree.files, _paper_id(member.name), "", member.name, works) if tree.files else Skip("no TeX in it")


def _single(stream: Stream, origin: str, works: catalogue.Catalogue | None) -> Record:
    """A raw file that is one TeX file."""
    if kind := other_kind(stream.peek(512)):
        return Skip(kind)
    return _paper([Member("paper.tex", _whole(stream))], _paper_id(origin), origin, "", works)


def _whole(stream: Stream) -> bytes:
    data = read_up_to(stream, MAX_RECORD_BYTES)
    if len(data) > MAX_RECORD_BYTES:
        raise DamagedError(f"more than {MAX_RECORD_BYTES} bytes in one TeX file")
    return bytes(data)


def _plain(data: bytes) -> Iterator[bytes]:
    """The bytes of a submission, decompressed in pieces. Raises `DamagedError`, also for a bomb."""
    if not data.startswith(b"\x1f\x8b"):
        yield data
        return
    # Not `sources.compression`: a submission is in memory, and its bounds are those of one paper.
    total = 0
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        while True:
            try:
                chunk = stream.read1(CHUNK)
            except (EOFError, zlib.error, OSError) as error:
                raise DamagedError(f"gzip data is cut off or corrupt ({error})") from None
            if not chunk:
                return
            total += len(chunk)
            if total > min(MAX_TREE_BYTES, max(MAX_RECORD_BYTES, archives.MAX_RATIO * len(data))):
                raise DamagedError(f"a bomb: {len(data)} bytes become more than {total - len(chunk)}")
            yield chunk


def other_kind(head: bytes) -> str:
    """Why a submission with these first bytes contains no TeX; empty when it may contain some."""
    start = head.lstrip()[:5].lower()
    return OTHER_KINDS.get(head[:4], "") or ("HTML only" if start in (b"<html", b"<!doc") else "")


def _paper(
    files: list[Member], identifier: str, origin: str, locator: str, works: catalogue.Catalogue | None
) -> Record:
    """The document of one paper's files."""
    entry = works.get(identifier) if works and identifier else None
    if entry is not None and entry.withdrawn:
        return Skip("withdrawn")
    # Normalised names, as inclusions are resolved to normalised paths.
    texts = {posixpath.normpath(member.name): decode(member.data) for member in files}
    found = assembled(texts)
    place = f"member {locator}" if locator else ""
    if found is None:
        total = "".join(texts.values())
        if len(total) < MAX_NOTICE and (WITHDRAWN.search(total) or "auto-ignore" in total):
            return Skip("withdrawn")
        return Rejection(place or "whole file", "no main file", f"none of {len(texts)} files begins a document")
    if len(found.text) < MAX_NOTICE and WITHDRAWN.search(found.text):
        return Skip("withdrawn")
    title, text = to_text(found.text)
    if len(text) < MIN_TEXT:
        return Rejection(place or "whole file", "no text", f"{len(text)} characters of text in {found.main}")
    title = entry.title if entry and entry.title else title
    meta = {"main_file": found.main} | ({"arxiv_id": identifier} if identifier else {})
    meta |= {} if found.expanded else {"macros": "not expanded"}
    return Document(
        url=f"{ABSTRACT_PAGE}{identifier}" if identifier else origin,
        title=title,
        text=f"{title}\n\n{text}" if title else text,
        meta=meta | (entry.meta() if entry else {}),
        license=entry.license or None if entry else None,
        locator=place,
    )


def decode(data: bytes) -> str:
    """UTF-8, else Windows-1252, the superset of Latin-1 (most TeX files before 2018), with `\\n` as line end."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    return LINE_END.sub("\n", text)
