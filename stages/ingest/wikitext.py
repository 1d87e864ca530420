"""Wikitext to the prose a reader sees.

In: the markup of one page and its wiki's namespaces. Out: paragraphs and headings as plain lines; without templates
(but for a few that stand for words in a sentence), tables, references, galleries, files, categories, language links
and magic words; formulas as LaTeX between `$`. Headings that head nothing any more are dropped.
From: parsed with mwparserfromhell; comments and tables go first, with a matcher that is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stages.ingest.templates import expansion

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
NOT_PROSE = (
    "ref|references|gallery|timeline|imagemap|score|hiero|templatedata|templatestyles|graph|mapframe|maplink|inputbox|"
    "charinsert|includeonly|chem"
)
NOT_PROSE_TAGS = frozenset([*NOT_PROSE.split("|"), "table", "hr", "br", "math", "li", "dd", "dt"])
TABLE_EDGE = re.compile(r"\{\|(?!\|)|(?<!\|)\|\}(?!\})")
MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:|simple:")
LEFTOVER = re.compile(
    rf"</?(?:{NOT_PROSE}|span|div|small|big|sub|sup|br|p|i|b|u|s|center|font|blockquote|code|nowiki|poem|li|ul|ol|td|tr|th|table)"
    r"\b[^<>\n]*>|\[\[|\]\]|\{\{+|\}\}+|\{\||\|\}|'{2,}",
    re.IGNORECASE,
)
LEFTOVER_LINE = re.compile(r"^[ \t]*(?:[|!].*|[*#:;-]+|[,.;:()]*)$", re.MULTILINE)
EMPTY_BRACKETS = re.compile(r"\([\s,;:]*\)|\[\s*\]")
AFTER_HOLE = re.compile(r"\((?:[ \t]*[,;])+[ \t]*")
BEFORE_HOLE = re.compile(r"(?:[ \t]*[,;])+[ \t]*\)")
SPACE_BEFORE_STOP = re.compile(r"[ \t]+([,.;:)](?!\w))")
SPACES = re.compile(r"[ \t]{2,}")
BULLETS = re.compile(r"^(?:- )+", re.MULTILINE)
HEADING_MARK = "\x02"
"""Begins a heading line, followed by its level, until empty sections are known. XML cannot hold it."""
FORMULA_MARK = "\x03"
"""Around the number of a formula while its surroundings are tidied. XML cannot hold it either."""
FORMULA = re.compile(f"{FORMULA_MARK}(\\d+){FORMULA_MARK}")


class UnparsableError(ValueError):
    """The parser gave up on a page."""


def plain_text(wikitext: str, namespaces: Mapping[str, str] | None = None) -> str:
    """The prose of a page, `""` when there is none. `namespaces`: number by lower-case name, as a dump's head gives
    them; the English names are known without. Raises `UnparsableError`."""
    import mwparserfromhell

    source = without_tables(COMMENT.sub("", re.sub(f"[{HEADING_MARK}{FORMULA_MARK}]", "", wikitext)))
    renderer = _Renderer(namespaces or {})
    try:
        text = tidy(renderer.render(mwparserfromhell.parse(source, skip_style_tags=True)))
        return FORMULA.sub(lambda mark: renderer.formulas[int(mark[1])], text)
    except (mwparserfromhell.parser.ParserError, RecursionError) as error:
        raise UnparsableError(f"{type(error).__name__}: {error}") from None


def without_tables(text: str) -> str:
    """Remove `{| … |}` with all that is nested in it; an unclosed table ends at the next empty line."""
    kept: list[str] = []
    depth = start = done = 0
    for edge in TABLE_EDGE.finditer(text):
        if edge[0] == "{|":
            if depth == 0 and not text[text.rfind("\n", 0, edge.start()) + 1 : edge.start()].strip(" \t:*#;"):
                start, depth = edge.start(), 1
            elif depth:
                depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                kept.append(text[done:start])
                done = edge.end()
    if depth:
        paragraph = text.find("\n\n", start)
        kept.append(text[done:start])
        done = paragraph if paragraph >= 0 else len(text)
    return "".join(kept) + text[done:]


class _Renderer:
    """Nodes of mwparserfromhell to text."""

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        self._namespaces = {"file": "6", "image": "6", "media": "-2", "category": "14"} | dict(namespaces)
        self.formulas: list[str] = []

    def render(self, wikicode: Any) -> str:
        return "".join(self._node(node) for node in wikicode.nodes) if wikicode is not None else ""

    def _node(self, node: Any) -> str:
        kind = type(node).__name__
        if kind == "Text":
            return str(node.value)
        renderer = getattr(self, f"_{kind.lower()}", None)
        return str(renderer(node)) if renderer else ""  # comments and {{{arguments}}} show nothing

    def _wikilink(self, link: Any) -> str:
        target = str(link.title).strip()
        prefix, colon, _ = target.partition(":")
        if colon and prefix and self._namespaces.get(prefix.strip().lower(), "0") != "0":
            return ""
        if LANGUAGE_LINK.match(target):
            return ""
        shown = self.render(link.text) if link.text is not None else target.lstrip(":").partition("#")[0]
        return shown or target.lstrip(":#")

    def _externallink(self, link: Any) -> str:
        return self.render(link.title) if link.brackets and link.title is not None else ""

    def _heading(self, heading: Any) -> str:
        title = " ".join(self.render(heading.title).split())
        return f"\n\n{HEADING_MARK}{heading.level}{title}\n\n"

    def _htmlentity(self, entity: Any) -> str:
        try:
            return str(entity.normalize())
        except ValueError:
            return ""

    def _tag(self, tag: Any) -> str:
        name = str(tag.tag).strip().lower()
        if tag.wiki_markup in ("*", "#"):
            return "- "
        if name == "br":
            return "\n"
        if name == "math":
            return self._formula(" ".join(str(tag.contents).split()))
        if name in NOT_PROSE_TAGS and not (name in ("li", "dd", "dt") and tag.contents):
            return ""
        text = self.render(tag.contents)
        return (
            f"\n{text}\n"
            if name in ("p", "div", "blockquote", "poem", "pre", "syntaxhighlight", "source", "li")
            else text
        )

    def _formula(self, latex: str) -> str:
        if not latex:
            return ""
        self.formulas.append(f"${latex}$")
        return f"{FORMULA_MARK}{len(self.formulas) - 1}{FORMULA_MARK}"

    def _template(self, template: Any) -> str:
        name = " ".join(str(template.name).replace("_", " ").split()).lower()
        unnamed = [param.value for param in template.params if not param.showkey]
        return expansion(name, lambda: [self.render(value).strip() for value in unnamed])


def tidy(text: str) -> str:
    """Remove what the parser could not read as markup, the holes that removed templates leave, and empty sections."""
    text = MAGIC_WORD.sub("", LEFTOVER.sub("", text)).replace("\xa0", " ")
    text = EMPTY_BRACKETS.sub("", SPACES.sub(" ", text))
    text = SPACES.sub(" ", SPACE_BEFORE_STOP.sub(r"\1", AFTER_HOLE.sub("(", BEFORE_HOLE.sub(")", text))))
    text = LEFTOVER_LINE.sub("", BULLETS.sub("- ", text))
    lines = [line.strip() for line in text.split("\n")]
    paragraphs = re.split(r"\n{2,}", "\n".join(line for line in lines if line != "-"))
    return "\n\n".join(_with_content([paragraph.strip("\n") for paragraph in paragraphs if paragraph.strip()]))


def _with_content(paragraphs: Iterable[str]) -> Iterator[str]:
    """Paragraphs, and headings that have a paragraph before the next heading of their level or above."""
    waiting: list[tuple[int, str]] = []
    for paragraph in paragraphs:
        if paragraph.startswith(HEADING_MARK):
            level, title = int(paragraph[1]), paragraph[2:].strip()
            waiting = [(above, heading) for above, heading in waiting if above < level] + [(level, title)]
            continue
        yield from (heading for _, heading in waiting if heading)
        waiting = []
        yield paragraph
