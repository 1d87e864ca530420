"""Project Gutenberg plain texts to documents: one document per chapter, act or book.

In: a text file in UTF-8, UTF-16, Windows-1252 or Latin-1, with any line ends, or a zip of such files, as on the
mirrors. Out: the text between the markers that Project Gutenberg puts around a work (`*** START OF …`,
`*** END OF …`; before 2004 the end of the "small print" and `End of …`), without transcribers' notes, marks of
illustrations and the underscores of italics; cut at headings and, where a chapter is long, at paragraphs: documents are
the unit of deduplication and of held-out validation, for which a whole novel is too coarse (`chapters: false` keeps it
whole). Hard-wrapped lines stay as they are. The number of the work, from its header or its file name, is the key of its
entry in the source's `catalogue`: title, authors, language and rights; recordings and data are skipped.
Errors: a file with NUL bytes, above the size limit or with boilerplate only is a rejection. A file without markers is
kept whole, and its `meta.boilerplate` is "none found".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from gptoss.config.source import SourceConfig
from gptoss.formats import archives, catalogue
from gptoss.formats.records import Document, Record, Rejection, Skip
from gptoss.sources.streams import LINE_END, MAX_RECORD_BYTES, DamagedError, Stream

# Characters of a document. Longer chapters are cut at paragraphs into parts of about equal size.
MAX_CHARACTERS = 50_000
# Shorter chapters, and the lines of a table of contents (which look like headings), are joined with what follows.
MIN_CHARACTERS = 4_000
# Lines at the top in which the start of the text is searched; the small print of the nineties was long.
HEADER_LINES = 600

# These match within one line only: an expression that crosses line ends is quadratic in a run of empty lines.
START = re.compile(r"^[^\w\n]*START OF (?:THIS|THE) PROJECT GUTENBERG\b.*$", re.MULTILINE | re.IGNORECASE)
END = re.compile(r"^[^\w\n]*END OF (?:THIS|THE) PROJECT GUTENBERG\b.*$", re.MULTILINE | re.IGNORECASE)
SMALL_PRINT_END = re.compile(r"^[^\w\n]*END[^\w\n]*THE SMALL PRINT\b.*$", re.MULTILINE | re.IGNORECASE)
OLD_END = re.compile(r"^[^\w\n]*End of (?:this |the )?Project Gutenberg\b.*$", re.MULTILINE | re.IGNORECASE)
CREDITS = re.compile(
    r"\s*(?:Produced by|E-?text prepared by|This e-?text was (?:produced|prepared) by)\b", re.IGNORECASE
)
# Characters of a paragraph of credits; a longer one contains text of the work.
MAX_CREDITS = 1_500
# What separates two paragraphs: some works have blanks on the empty lines.
EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n)+")
BOOK_PAGE = "https://www.gutenberg.org/ebooks/"
# Characters in which the number of a work without a header is searched.
HEADER_CHARACTERS = 2_000
NUMBER_IN_HEADER = re.compile(r"\[\s*e-?(?:book|text)\s*(?:#|no\.?)\s*(\d{1,6})\s*\]", re.IGNORECASE)
NUMBER_IN_NAME = re.compile(r"(?:pg)?(\d{1,6})(?:-\d|-h|-8|-utf8)?(?:\.txt)?(?:\.utf-?8)?(?:\.(?:txt|zip|gz))?")
COPYRIGHT_NOTICE = re.compile(r"This is a COPYRIGHTED Project Gutenberg", re.IGNORECASE)
# The licence that Project Gutenberg's own catalogue gives for such works.
COPYRIGHTED = "Copyrighted. Read the copyright notice inside this book for details."
# Names of languages in headers. The catalogue, where there is one, has codes for all of them.
LANGUAGES = {
    "english": "en", "french": "fr", "german": "de", "spanish": "es", "italian": "it", "portuguese": "pt",
    "dutch": "nl", "finnish": "fi", "swedish": "sv", "danish": "da", "norwegian": "no", "latin": "la", "greek": "el",
    "hungarian": "hu", "polish": "pl", "russian": "ru", "chinese": "zh", "japanese": "ja", "esperanto": "eo",
    "tagalog": "tl", "catalan": "ca", "welsh": "cy", "czech": "cs",
}  # fmt: skip
# `(?<![ \t])` and the bounded repetition keep the time linear in long runs of blanks and of open brackets.
ILLUSTRATION = re.compile(r"(?<![ \t])[ \t]*\[(?:Illustration|Frontispiece)\b[^\[\]]{0,2000}\]", re.IGNORECASE)
NOTE = re.compile(r"(?<![ \t])[ \t]*\[Transcriber['’]?s['’]? notes?\b[^\[\]]{0,5000}\]", re.IGNORECASE)
NOTES_AT_END = re.compile(r"^\W{0,20}Transcriber['’]?s['’]? (?:notes?|amendments)\b", re.IGNORECASE | re.MULTILINE)
ITALICS = re.compile(r"(?<![\w_])_(?=[^\s_])([^_]{1,1000}?)(?<=[^\s_])_(?![\w_])")
# A field of the header, such as `Title: …`, with its indented continuation lines.
FIELD = r"^{}:[ \t]*(.+(?:\n[ \t]+\S.*)*)"

_NUMBER = (
    r"(?:[IVXLC]+|\d+|(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"(?:the )?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last)))"
)
_UNIT = r"(?:ACT|Act|BOOK|Book|CANTO|Canto|CHAPTER|Chapter|LETTER|Letter|PART|Part|STAVE|Stave|ADVENTURE|VOLUME|Volume)"
# A line, after an empty one, that begins a new document. "Chapter 3" is a heading, "Part 2 of the" is not.
HEADING = re.compile(rf"[ \t]*(?:{_UNIT} {_NUMBER}\b(?![ ,]?[a-z])|(?:THE|The) {_NUMBER} {_UNIT}\b).{{0,70}}")
# The same between two empty lines, which is enough evidence for a heading without a word such as "chapter".
LONE_HEADING = re.compile(r"[ \t]*[IVXLC]+\. [A-Z].{2,70}")


def read(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """The parts of each work in order; `meta.part` counts from 1 to `meta.parts`."""
    if archives.is_zip(stream.peek(4)):
        yield from _zipped(stream, origin, source)
        return
    raw, damage = _read_whole(stream)
    yield from _work(raw, origin, "", source)
    if damage:
        raise damage


def _zipped(stream: Stream, origin: str, source: SourceConfig) -> Iterator[Record]:
    """The texts in a zip; the HTML pages and pictures beside them are ignored."""
    is_empty = True
    for member in archives.members(stream, lambda name: name.lower().endswith(".txt")):
        is_empty = False
        if isinstance(member, archives.Member):
            yield from _work(member.data, origin, member.name, source)
        else:
            yield member
    if is_empty:
        yield Rejection("whole file", "no text", "a zip without a .txt")


def _work(raw: bytes, origin: str, member: str, source: SourceConfig) -> Iterator[Record]:
    """The documents of one text file. `member` is its name in a zip, empty for a file by itself."""
    locator = f"member {member}" if member else "whole file"
    if len(raw) > MAX_RECORD_BYTES:
        yield Rejection(locator, "too long", f"more than {MAX_RECORD_BYTES} bytes for one text")
        return
    if b"\0" in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Rejection(locator, "not text", f"NUL byte at {raw.index(0)}")
        return
    header, text, boilerplate = strip_boilerplate(LINE_END.sub("\n", decode(raw)))
    number = number_of(header or text[:HEADER_CHARACTERS], member or origin)
    works = catalogue.open_catalogue(source)
    entry = (works.get(number) if works and number else None) or catalogue.Entry()
    if entry.type not in ("", "Text"):
        yield Skip(f"no text but {entry.type}")
        return
    title, author = _title_and_author(header, text)
    text = without_marks(text)
    parts = split(text) if source.chapters else [whole] if (whole := "\n\n".join(_chapters(text))) else []
    if not parts:
        yield Rejection(locator, "no text", "nothing but boilerplate") if raw.strip() else Skip("empty")
        return
    meta = {"parts": len(parts), "boilerplate": boilerplate} | ({"gutenberg_id": number} if number else {})
    meta |= {"author": entry.author or author} if entry.author or author else {}
    meta |= {key: value for key, value in entry.meta().items() if key != "authors"}
    url = f"{BOOK_PAGE}{number}" if number else f"{origin}#{member}" if member else origin
    language = entry.language or _language(header) or None
    for part_number, part in enumerate(parts, 1):
        yield Document(
            url=f"{url}#part={part_number}" if len(parts) > 1 else url,
            title=entry.title or title,
            text=part,
            meta=meta | {"part": part_number},
            license=entry.license or (COPYRIGHTED if COPYRIGHT_NOTICE.search(header) else None),
            language=language,
            locator=locator if member else f"part {part_number}" if len(parts) > 1 else "",
        )


def number_of(header: str, name: str) -> str:
    """Project Gutenberg's number of a work, `1342` for `[eBook #1342]` or `pg1342.txt`; empty when neither has one."""
    if match := NUMBER_IN_HEADER.search(header):
        return match[1]
    match = NUMBER_IN_NAME.fullmatch(posixpath.basename(name))
    return match[1] if match else ""


def _language(header: str) -> str:
    """The code of the language that the header names; empty when it names none or one that `LANGUAGES` lacks."""
    field_ = re.search(FIELD.format("Language"), header, re.MULTILINE)
    return LANGUAGES.get(field_[1].split(",")[0].strip().lower(), "") if field_ else ""


def without_marks(text: str) -> str:
    """A text without transcribers' notes, marks of illustrations, and underscores around italics."""
    # Notes without brackets are only recognised in the last twentieth: "Transcriber's Note" may also begin a work.
    text = NOTE.sub("", ILLUSTRATION.sub("", text))
    ends = [match.start() for match in NOTES_AT_END.finditer(text, len(text) - len(text) // 20)]
    return ITALICS.sub(r"\1", text[: ends[0]] if ends else text).strip("\n")


def _read_whole(stream: Stream) -> tuple[bytes, DamagedError | None]:
    """The bytes of a work, or those before the damage; at most one more than the limit. Unlike records of other
    formats, the first half of a book is worth keeping."""
    data = bytearray()
    try:
        while len(data) <= MAX_RECORD_BYTES and (chunk := stream.read1(MAX_RECORD_BYTES + 1 - len(data))):
            data += chunk
    except DamagedError as damage:
        return bytes(data), damage
    return bytes(data), None


def decode(raw: bytes) -> str:
    """UTF-8 (or UTF-16 by its mark), else Windows-1252, else Latin-1, in which every byte is valid."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def strip_boilerplate(text: str) -> tuple[str, str, str]:
    """Header, text, and the kind of markers: "markers", "small print" or "none found"."""
    head = "\n".join(text.split("\n", HEADER_LINES)[:HEADER_LINES])
    start, found = 0, "none found"
    if match := START.search(head):
        start, found = _end_of_marker(text, match), "markers"
    elif matches := list(SMALL_PRINT_END.finditer(head)):
        start, found = matches[-1].end(), "small print"
    header, body = text[:start], text[start:]
    ends = [match.start() for match in (END.search(body), OLD_END.search(body)) if match]
    if ends:  # the old end line stands above the new marker where there are both
        body = _without_wordless_end(body[: min(ends)])
        found = "markers" if found == "none found" else found
    body = body.strip("\n\x1a")  # 0x1A ends text files of MS-DOS
    if start and CREDITS.match(body):
        body = _without_credits(body)
    return header, body.strip("\n"), found


def _without_wordless_end(body: str) -> str:
    """A text up to its last line with a word: the asterisks and rules before an end marker belong to the marker."""
    # Searched backwards, so that the time does not depend on the length of the work.
    after = re.match(r"\W*", body[::-1])
    last = body.find("\n", len(body) - (after.end() if after else 0))
    return body[:last] if last >= 0 else body


def _without_credits(body: str) -> str:
    """A text without its first paragraph, unless that is too long to be only credits: some works have no empty lines,
    so that it is the whole work."""
    first, *rest = EMPTY_LINES.split(body, maxsplit=1)
    return body if len(first) > MAX_CREDITS else "".join(rest)


def _end_of_marker(text: str, marker: re.Match[str]) -> int:
    """Where a start marker ends: with `***` within three lines, as long titles wrap, else with its own line."""
    if marker[0].rstrip().endswith("***"):
        return marker.end()
    wrapped = re.compile(r"(?:\n.+){1,3}?\*\*\*[ \t]*$", re.MULTILINE).match(text, marker.end())
    return wrapped.end() if wrapped else marker.end()


def _title_and_author(header: str, text: str) -> tuple[str, str]:
    """Title and author from the header's fields; without these the first line, and the second if it begins with
    "by"."""
    title, author = (re.search(FIELD.format(name), header, re.MULTILINE) for name in ("Title", "Author"))
    first = [line.strip() for line in text.split("\n", 30) if line.strip()][:2]
    by = re.match(r"(?i:by) (.{3,60})$", first[1]) if len(first) > 1 else None
    return (
        " ".join(title[1].split()) if title else (first[0][:200] if first else ""),
        " ".join(author[1].split()) if author else (by[1] if by else ""),
    )


def split(text: str) -> list[str]:
    """Cut a work at its headings, join short chapters, and cut long ones at paragraphs, else at lines."""
    parts: list[str] = []
    waiting = ""
    for chapter in _chapters(text):
        waiting = f"{waiting}\n\n{chapter}" if waiting else chapter
        if len(waiting) >= MIN_CHARACTERS:
            parts += _pieces(waiting)
            waiting = ""
    if waiting and parts and len(parts[-1]) + len(waiting) < MAX_CHARACTERS:
        parts[-1] += "\n\n" + waiting
    elif waiting:
        parts.append(waiting)
    return parts


def _chapters(text: str) -> Iterator[str]:
    """The paragraphs from one heading to the next, separated by one empty line."""
    chapter: list[str] = []
    for paragraph in EMPTY_LINES.split(text):
        paragraph = "\n".join(line.rstrip() for line in paragraph.split("\n")).strip("\n")
        if chapter and _begins_chapter(paragraph.split("\n")):
            yield "\n\n".join(chapter)
            chapter = []
        if paragraph:
            chapter.append(paragraph)
    if chapter:
        yield "\n\n".join(chapter)


def _begins_chapter(lines: list[str]) -> bool:
    """A heading in one of the first two lines (some editions repeat the work's title above it)."""
    return any(HEADING.fullmatch(line) for line in lines[:2]) or (
        len(lines) == 1 and LONE_HEADING.fullmatch(lines[0]) is not None
    )


def _pieces(text: str) -> list[str]:
    """Parts of about equal size, none above the limit, cut at an empty line if there is one near the ideal cut."""
    if len(text) <= MAX_CHARACTERS:
        return [text]
    # The target is 9/10 of the limit or less, so that a part may run on to the next empty line.
    target = len(text) // -(-len(text) // (MAX_CHARACTERS * 9 // 10))
    limit = target * 10 // 9
    pieces: list[str] = []
    piece: list[str] = []
    size = 0
    for whole in text.split("\n"):
        # Lines longer than a part are cut, too: the text of a work may be one line.
        for line in [whole[at : at + target] for at in range(0, len(whole), target)] or [""]:
            if piece and (size + len(line) >= limit or (size >= target and not line)):
                pieces.append("\n".join(piece).strip("\n"))
                piece, size = [], 0
            piece.append(line)
            size += len(line) + 1
    return [*pieces, "\n".join(piece).strip("\n")]
