"""Questions and answers from a folder of a company's own documents: Markdown, HTML and CSV.

In: every `.md`, `.markdown`, `.html`, `.htm` and `.csv` below a folder. Out: one `Fact` per section of prose, per
`<dt>`/`<details>` of a list of questions, and per row of a table with a question and an answer column.

A fact has several wordings of its question, one of which is held out: it is asked in evaluation and never trained.
Evaluation therefore measures whether the model knows a fact when it is asked in other words. (A fact that is held out
itself could not be known at all.)
Errors: `UserError` for a folder with nothing to read; `DataError` for a file that cannot be read, and for a table
without the two columns or with an unclosed quotation mark.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from resiliparse.parse.html import HTMLTree

from gptoss.core.errors import DataError, UserError
from gptoss.finetune.messages import Conversation, LineError, Rejected
from gptoss.finetune.page_blocks import blocks

MARKDOWN, HTML, TABLE = (".md", ".markdown"), (".html", ".htm"), (".csv",)
QUESTION_COLUMNS = ("question", "q", "query", "prompt", "instruction")
ANSWER_COLUMNS = ("answer", "a", "response", "reply", "output")
# A shorter section is not an answer: a heading above other headings, a line of links.
MIN_ANSWER_WORDS = 4
# Longer answers are cut: small models learn short ones, and a conversation has to fit `instruct.max_length`.
MAX_ANSWER_CHARACTERS = 600
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
TITLE = re.compile(r"^title:\s*(.+?)\s*$", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

# Wordings of a question; the last is held out.
ASKED = ("{question}", "Can you tell me: {question}", "I have a question. {question}", "Please answer: {question}")
# Wordings for a heading that is not a question; the last is held out.
TOPIC = (
    "What does the {title} say about {topic}?",
    "{title}: {topic}",
    "Tell me about {topic} ({title}).",
    "What should I know about {topic}, by the {title}?",
)
# Wordings for the text of a document before its first heading; the last is held out.
OVERVIEW = ("What is the {title}?", "{title}", "Tell me about the {title}.", "What should I know about the {title}?")


@dataclass(frozen=True)
class Fact:
    """A question in several wordings, and its answer in the words of a document."""

    id: str
    document: str
    wordings: tuple[str, ...]
    """All but the last are trained."""
    answer: str

    @property
    def held_out(self) -> str:
        """The wording that only evaluation uses."""
        return self.wordings[-1]

    def conversations(self) -> list[Conversation]:
        """One per trained wording."""
        return [
            Conversation.exchange(f"{self.id}-{number}", wording, self.answer)
            for number, wording in enumerate(self.wordings[:-1])
        ]


def read_facts(folder: Path, max_characters: int = MAX_ANSWER_CHARACTERS) -> list[Fact]:
    """The facts of all documents in `folder`, in the order of their paths. Answers end with the last whole sentence
    within `max_characters`. Of several answers to one question only the first is used."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder", "name a folder with .md, .html or .csv files")
    named = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (*MARKDOWN, *HTML, *TABLE)]
    paths = [path for path in named if path.is_file()]  # an editor's lock file is a dangling symbolic link
    facts: dict[tuple[str, ...], Fact] = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        for wordings, text in _pairs(path, name):
            answer = shorten(text, max_characters)
            # Without the answer: an edited document keeps its facts on the same side of the held-out split.
            identity = hashlib.blake2b(f"{name}\n{wordings[0]}".encode(), digest_size=8).hexdigest()
            facts.setdefault(wordings, Fact(identity, name, wordings, answer))
    if not facts:
        raise UserError(
            f"{folder} holds no text to learn from ({len(paths)} .md, .html and .csv files)",
            "add documents with headings and prose, or a CSV table with the columns question and answer",
        )
    return list(facts.values())


def split_usable(facts: list[Fact], special_tokens: Collection[str]) -> tuple[list[Fact], list[Rejected]]:
    """The facts that are valid conversations in every wording, and why the others are not."""
    usable, rejected = [], []
    for fact in facts:
        try:
            for wording in fact.wordings:
                Conversation.exchange(fact.id, wording, fact.answer).validated(special_tokens)
            usable.append(fact)
        except LineError as error:
            rejected.append(Rejected.because(error, fact.document))
    return usable, rejected


def shorten(text: str, max_characters: int) -> str:
    """Whole sentences from the beginning; a first sentence that is too long by itself is cut after a word."""
    if len(text) <= max_characters:
        return text
    short = ""
    for sentence in SENTENCE_END.split(text):
        longer = f"{short} {sentence}".strip()
        if len(longer) > max_characters:
            break
        short = longer
    return short or text[:max_characters].rsplit(" ", 1)[0]


def _pairs(path: Path, name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Wordings and full answer of every fact of one document."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason} at byte {error.start})", "save it as UTF-8") from None
    # Markdown goes through HTML, so that both have the same rules of headings and prose.
    if path.suffix.lower() in TABLE:
        yield from _table(path, text)
    elif path.suffix.lower() in MARKDOWN:
        yield from _page(*_markdown(text), fallback=_readable(name))
    else:
        yield from _page(text, "", fallback=_readable(name))


def _table(path: Path, text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    header, *rows = _rows(path, text) or [[]]
    # Other columns (topic, date) are ignored; tables come from many systems.
    names = {name.strip().lower(): column for column, name in enumerate(header)}
    question = next((names[known] for known in QUESTION_COLUMNS if known in names), None)
    answer = next((names[known] for known in ANSWER_COLUMNS if known in names), None)
    if question is None or answer is None:
        raise DataError(
            f"{path} has the columns {', '.join(names) or 'none'}",
            f"name one of them {' or '.join(QUESTION_COLUMNS)} and one {' or '.join(ANSWER_COLUMNS)}",
        )
    for row in rows:
        # A slice: rows may be shorter than the header.
        asked, answered = (" ".join("".join(row[column : column + 1]).split()) for column in (question, answer))
        if asked and answered:
            yield _wordings(asked, ""), answered


def _rows(path: Path, text: str) -> list[list[str]]:
    """The non-empty rows of a table, with the delimiter guessed from its beginning. Raises `DataError` for an unclosed
    quotation mark, after which all that follows would be a single cell."""
    try:
        dialect: Any = csv.Sniffer().sniff(text[:10_000], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    # Only these two properties of the guess are used. Quotation marks are those of RFC 4180: the sniffer misses them if
    # the beginning of the table has none.
    reader = csv.reader(
        io.StringIO(text), delimiter=dialect.delimiter, skipinitialspace=dialect.skipinitialspace, strict=True
    )
    rows: list[list[str]] = []
    first_line = 1
    try:
        for row in reader:
            first_line = reader.line_num + 1
            if row:
                rows.append(row)
    except csv.Error as error:
        raise DataError(
            f"{path}: the row that begins in line {first_line} cannot be read ({error})",
            'close each quotation mark, and write one inside a quoted cell twice: "Say ""no""."',
        ) from None
    return rows


def _markdown(text: str) -> tuple[str, str]:
    """Markdown as HTML, and the title of its front matter."""
    title = ""
    if front := FRONT_MATTER.match(text):
        match = TITLE.search(front.group(1))
        title = match.group(1).strip("\"'") if match else ""
        text = text[front.end() :]
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text), title


def _page(markup: str, title: str, fallback: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The sections of a page: a heading is the question, the prose below it up to the next heading the answer."""
    heading, prose = "", list[str]()
    for kind, text in blocks(HTMLTree.parse(markup).body):
        if kind == "prose":
            prose.append(text)
            continue
        yield from _section(heading, prose, (title or fallback).rstrip("?!. "))
        if kind == "heading":
            title = title or text  # the first heading of a page without a title names the page
        heading, prose = text, []
    yield from _section(heading, prose, (title or fallback).rstrip("?!. "))


def _section(heading: str, prose: list[str], title: str) -> Iterator[tuple[tuple[str, ...], str]]:
    answer = " ".join(prose)
    if len(answer.split()) >= MIN_ANSWER_WORDS:
        yield _wordings(heading or title, title), answer


def _wordings(heading: str, title: str) -> tuple[str, ...]:
    """The wordings of a heading or a question, the document's own first."""
    # A heading such as "What is covered?" asks by itself; its document still has to be named.
    if heading.rstrip().endswith("?"):
        asked = heading if not title or title == heading else f"{heading} ({title})"
        return tuple(wording.format(question=asked) for wording in ASKED)
    if not title:
        return tuple(wording.format(question=heading) for wording in ASKED)
    wordings = OVERVIEW if title == heading else TOPIC
    return tuple(wording.format(title=title, topic=heading) for wording in wordings)


def _readable(name: str) -> str:
    return Path(name).stem.replace("_", " ").replace("-", " ").strip()
