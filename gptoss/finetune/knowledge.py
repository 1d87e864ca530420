"""A folder of a company's own documents to facts that can be asked about: Markdown, HTML and CSV.

In: every `.md`, `.markdown`, `.html`, `.htm` and `.csv` below a folder. Out: one `Fact` for each section of prose, each
`<dt>`/`<details>` of a list of questions, each row of a table with a question and an answer column.

A fact has several wordings of its question, of which one is held out: it is asked in evaluation and never trained. So
evaluation measures whether the assistant knows what it was taught when it is asked in other words; a fact that was
never taught cannot be known. Raises `UserError` for a folder with nothing to read, `DataError` naming a file that
cannot be read, a table without the two columns or with a quotation mark left open.
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

from gptoss.core.errors import DataError, UserError
from gptoss.finetune.chat_formats import LineError
from gptoss.finetune.conversations import Conversation, Rejected, checked
from gptoss.finetune.page_blocks import blocks

MARKDOWN, HTML, TABLE = (".md", ".markdown"), (".html", ".htm"), (".csv",)
QUESTION_COLUMNS = ("question", "q", "query", "prompt", "instruction")
ANSWER_COLUMNS = ("answer", "a", "response", "reply", "output")
MIN_ANSWER_WORDS = 4
"""A section with less says nothing by itself: a heading over other headings, a line of links."""
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
TITLE = re.compile(r"^title:\s*(.+?)\s*$", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

ASKED = ("{question}", "Can you tell me: {question}", "I have a question. {question}", "Please answer: {question}")
"""Wordings of what is a question already; the last is held out."""
TOPIC = (
    "What does the {title} say about {topic}?",
    "{title}: {topic}",
    "Tell me about {topic} ({title}).",
    "What should I know about {topic}, by the {title}?",
)
"""Wordings for a heading that is none; the last is held out."""
OVERVIEW = ("What is the {title}?", "{title}", "Tell me about the {title}.", "What should I know about the {title}?")
"""Wordings for what a document says before its first heading; the last is held out."""


@dataclass(frozen=True)
class Fact:
    """Something the documents say: how it can be asked, and the answer in their own words."""

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
        """One a trained wording."""
        return [
            Conversation(f"{self.id}-{number}", (("user", wording), ("assistant", self.answer)))
            for number, wording in enumerate(self.wordings[:-1])
        ]


def read_facts(folder: Path, max_characters: int) -> list[Fact]:
    """The facts of all documents in `folder`, in the order of their paths; answers end with the last whole sentence
    within `max_characters`. A question that was answered before is left out."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder", "name a folder with .md, .html or .csv files")
    named = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (*MARKDOWN, *HTML, *TABLE)]
    paths = [path for path in named if path.is_file()]  # no folder, and no lock that links to nothing
    facts: dict[tuple[str, ...], Fact] = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        for wordings, text in _pairs(path, name):
            answer = shortened(text, max_characters)
            identity = hashlib.blake2b(f"{name}\n{wordings[0]}".encode(), digest_size=8).hexdigest()
            facts.setdefault(wordings, Fact(identity, name, wordings, answer))
    if not facts:
        raise UserError(
            f"{folder} holds no text to learn from ({len(paths)} .md, .html and .csv files)",
            "add documents with headings and prose, or a CSV table with the columns question and answer",
        )
    return list(facts.values())


def usable(facts: list[Fact], control_tokens: Collection[str]) -> tuple[list[Fact], list[Rejected]]:
    """The facts that can be taught and asked in every wording, and why the others cannot."""
    kept, rejected = [], []
    for fact in facts:
        try:
            for wording in fact.wordings:
                checked(Conversation(fact.id, (("user", wording), ("assistant", fact.answer))), control_tokens)
            kept.append(fact)
        except LineError as bad:
            rejected.append(Rejected(fact.document, 0, bad.reason, bad.detail))
    return kept, rejected


def shortened(text: str, max_characters: int) -> str:
    """Whole sentences from the beginning; a first sentence that is too long by itself is cut at a word."""
    if len(text) <= max_characters:
        return text
    kept = ""
    for sentence in SENTENCE_END.split(text):
        longer = f"{kept} {sentence}".strip()
        if len(longer) > max_characters:
            break
        kept = longer
    return kept or text[:max_characters].rsplit(" ", 1)[0]


def _pairs(path: Path, name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Wordings and full answer of every fact of one document."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason} at byte {error.start})", "save it as UTF-8") from None
    if path.suffix.lower() in TABLE:
        yield from _table(path, text)
    elif path.suffix.lower() in MARKDOWN:
        yield from _page(*_markdown(text), fallback=_readable(name))
    else:
        yield from _page(text, "", fallback=_readable(name))


def _table(path: Path, text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    header, *rows = _rows(path, text) or [[]]
    names = {name.strip().lower(): column for column, name in enumerate(header)}
    question = next((names[known] for known in QUESTION_COLUMNS if known in names), None)
    answer = next((names[known] for known in ANSWER_COLUMNS if known in names), None)
    if question is None or answer is None:
        raise DataError(
            f"{path} has the columns {', '.join(names) or 'none'}",
            f"name one of them {' or '.join(QUESTION_COLUMNS)} and one {' or '.join(ANSWER_COLUMNS)}",
        )
    for row in rows:
        asked, told = (" ".join("".join(row[column : column + 1]).split()) for column in (question, answer))
        if asked and told:
            yield _wordings(asked, ""), told


def _rows(path: Path, text: str) -> list[list[str]]:
    """The rows of a table that are not empty. Which character delimits its columns is guessed from its beginning;
    quotation marks are those of RFC 4180, whatever the beginning looks like. Raises `DataError` where one is left
    open: all that follows would be a single cell."""
    try:
        found: Any = csv.Sniffer().sniff(text[:10_000], delimiters=",;\t|")
    except csv.Error:
        found = csv.excel
    reader = csv.reader(
        io.StringIO(text), delimiter=found.delimiter, skipinitialspace=found.skipinitialspace, strict=True
    )
    rows: list[list[str]] = []
    begun = 1
    try:
        for row in reader:
            begun = reader.line_num + 1
            if row:
                rows.append(row)
    except csv.Error as error:
        raise DataError(
            f"{path}: the row that begins in line {begun} cannot be read ({error})",
            'close each quotation mark, and write one inside a quoted cell twice: "Say ""no""."',
        ) from None
    return rows


def _markdown(text: str) -> tuple[str, str]:
    """Markdown as HTML, and the title of its front matter."""
    from markdown_it import MarkdownIt

    title = ""
    if front := FRONT_MATTER.match(text):
        found = TITLE.search(front.group(1))
        title = found.group(1).strip("\"'") if found else ""
        text = text[front.end() :]
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text), title


def _page(markup: str, title: str, fallback: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The sections of a page: a heading asks, the prose below it up to the next heading answers."""
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(markup)
    heading, prose = "", list[str]()
    for kind, text in blocks(tree.body):
        if kind == "heading":
            yield from _section(heading, prose, (title or fallback).rstrip("?!. "))
            title = title or text
            heading, prose = text, []
        elif kind == "question":
            yield from _section(heading, prose, (title or fallback).rstrip("?!. "))
            heading, prose = text, []
        else:
            prose.append(text)
    yield from _section(heading, prose, (title or fallback).rstrip("?!. "))


def _section(heading: str, prose: list[str], title: str) -> Iterator[tuple[tuple[str, ...], str]]:
    answer = " ".join(prose)
    if len(answer.split()) >= MIN_ANSWER_WORDS:
        yield _wordings(heading or title, title), answer


def _wordings(heading: str, title: str) -> tuple[str, ...]:
    """What is asked of a heading or a question: in the document's words first."""
    if heading.rstrip().endswith("?"):
        asked = heading if not title or title == heading else f"{heading} ({title})"
        return tuple(wording.format(question=asked) for wording in ASKED)
    if not title:
        return tuple(wording.format(question=heading) for wording in ASKED)
    wordings = OVERVIEW if title == heading else TOPIC
    return tuple(wording.format(title=title, topic=heading) for wording in wordings)


def _readable(name: str) -> str:
    return Path(name).stem.replace("_", " ").replace("-", " ").strip()
