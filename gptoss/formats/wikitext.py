"""Wikitext to the prose a reader sees.

In: the markup of one page and its wiki's namespaces. Out: paragraphs and headings as plain lines; without templates
(but for a few that stand for words in a sentence), tables, references, galleries, files, categories, language links
and magic words; formulas as LaTeX between `$`. Headings that head nothing any more are dropped.

No tree is built: what shows nothing goes first, then templates and links are replaced from the innermost outwards, one
pass of a regular expression for each level of nesting. All expressions are linear in the text, and the passes are
bounded, so no markup takes long. It was measured against a parser of the whole grammar (mwparserfromhell): the same
words at many times its speed, see `benchmarks/wikitext.py`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping

from gptoss.formats.wiki_templates import expansion

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
NOT_PROSE = (
    "ref|references|gallery|timeline|imagemap|score|hiero|templatedata|templatestyles|graph|mapframe|maplink|inputbox|"
    "charinsert|includeonly|ce|chem|table"
)
VERBATIM = "nowiki|pre|syntaxhighlight|source|math"
ELEMENT = re.compile(rf"<(/?)({NOT_PROSE}|{VERBATIM})\b([^<>]*)>", re.IGNORECASE)
"""Tags of elements that are cut out whole or kept as they are."""
BLOCK_TAG = re.compile(
    r"</?(?:p|div|blockquote|poem|li|ul|ol|dl|dd|dt|br|hr|center|h[1-6]|tr|td|th)\b[^<>]*>", re.IGNORECASE
)
TAG = re.compile(r"</?[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>")
TABLE_EDGE = re.compile(r"\{\|(?!\|)|\|\}(?!\})")
EXTERNAL_LINK = re.compile(
    r"\[(?:(?:https?|ftp|news|irc)://|mailto:|//)[^\s\[\]<>]*+[ \t]*+([^\[\]\n]*+)\]", re.IGNORECASE
)
BARE_URL = re.compile(r"\b(?:https?|ftp)://[^\s\[\]<>{}|\"]*[^\s\[\]<>{}|\".,;:!?()']")
_INSIDE = r"(?:[^{}\[\]]++|\{(?!\{)|\}(?!\})|\[(?!\[)|\](?!\]))*+"
INNERMOST = re.compile(rf"\{{\{{\{{[^{{}}]*+\}}\}}\}}|\{{\{{({_INSIDE})\}}\}}|\[\[({_INSIDE})\]\]")
"""A template or link (or `{{{argument}}}`, which shows nothing) with no other one inside."""
MAX_DEPTH = 30
"""Levels of nesting that are resolved; MediaWiki itself stops at 40."""
HEADING = re.compile(r"^=[^\n]*=[ \t]*+$", re.MULTILINE)
LIST_ITEM = re.compile(r"^[*#:;]+[ \t]*", re.MULTILINE)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:|simple:")
LEFTOVER = re.compile(r"\[\[|\]\]|\{\{+|\}\}+|\{\||\|\}|'{2,}")
LEFTOVER_LINE = re.compile(r"^[ \t]*(?:[|!].*|-{4,}|[*#:;-]+|[,.;:()]*)$", re.MULTILINE)
EMPTY_BRACKETS = re.compile(r"\([\s,;:]*\)|\[\s*\]")
AFTER_HOLE = re.compile(r"\( *+[,;][ ,;]*+")
SPACE_BEFORE_STOP = re.compile(r" ([,.;:)](?!\w))")
SPACES = re.compile("  +")
BULLETS = re.compile(r"^(?:- )+", re.MULTILINE)
HEADING_MARK = "\x02"
"""Begins a heading line, followed by its level, until empty sections are known. XML cannot hold it."""
VERBATIM_MARK = "\x03"
"""Around the number of a formula or verbatim text while its surroundings are tidied. XML cannot hold it either."""
KEPT = re.compile(f"{VERBATIM_MARK}(\\d+){VERBATIM_MARK}")


ENGLISH = {"file": "6", "image": "6", "media": "-2", "category": "14"}


def plain_text(wikitext: str, namespaces: Mapping[str, str] | None = None) -> str:
    """The prose of a page, `""` when there is none. `namespaces`: number by lower-case name, as a dump's head gives
    them; the English names are known without."""
    text = COMMENT.sub("", re.sub(f"[{HEADING_MARK}{VERBATIM_MARK}]", "", wikitext))
    text, kept = without_elements(text)
    text = TAG.sub("", BLOCK_TAG.sub("\n", without_tables(text)))
    text = resolved(EXTERNAL_LINK.sub(r"\1", text), ENGLISH | dict(namespaces or {}))
    text = HEADING.sub(lambda found: _heading(found[0].strip()), text)
    text = LIST_ITEM.sub(lambda found: "- " if "*" in found[0] or "#" in found[0] else "", text)
    text = BARE_URL.sub("", text) if "://" in text else text
    return KEPT.sub(lambda mark: kept[int(mark[1])], tidy(text))


def _heading(line: str) -> str:
    level = min(6, len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")))
    return f"\n\n{HEADING_MARK}{level}{' '.join(line[level:-level].split())}\n\n"


def without_elements(text: str) -> tuple[str, list[str]]:
    """Cut out what is not prose and put aside what is not markup: formulas (as `$…$`), code, `<nowiki>`. In their place
    stand numbers of the list that is returned. A tag without its partner is cut out alone."""
    tags = list(ELEMENT.finditer(text))
    closing = _closing(tags)
    shown: list[str] = []
    kept: list[str] = []
    done = number = 0
    while number < len(tags):
        tag = tags[number]
        shown.append(text[done : tag.start()])
        close = closing[number]
        name = tag[2].lower()
        if close is not None and name in VERBATIM.split("|"):
            content = text[tag.end() : tags[close].start()]
            kept.append(_verbatim(name, content))
            mark = f"{VERBATIM_MARK}{len(kept) - 1}{VERBATIM_MARK}" if content.strip() else ""
            shown.append(mark if name in ("nowiki", "math") else f"\n{mark}\n")
        number = number + 1 if close is None else close + 1
        done = tags[number - 1].end()
    return "".join([*shown, text[done:]]), kept


def _closing(tags: list[re.Match[str]]) -> list[int | None]:
    """For each tag the number of the tag that closes it."""
    closing: list[int | None] = [None] * len(tags)
    following: dict[str, list[int]] = {}
    for number in range(len(tags) - 1, -1, -1):
        tag, name = tags[number], tags[number][2].lower()
        waiting = following.setdefault(name, [])
        if tag[1]:
            if name != "table":
                waiting.clear()  # only tables stand in their own kind
            waiting.append(number)
        elif not tag[3].endswith("/") and waiting:
            closing[number] = waiting.pop() if name == "table" else waiting[-1]
    return closing


def _verbatim(name: str, content: str) -> str:
    if name == "math":
        return f"${' '.join(content.split())}$"
    return html.unescape(content).strip("\n") if name != "nowiki" else html.unescape(content)


def without_tables(text: str) -> str:
    """Remove `{| … |}` with all that is nested in it; an unclosed table ends at the next empty line."""
    if "{|" not in text:
        return text
    kept: list[str] = []
    depth = start = done = seen = 0
    for edge in TABLE_EDGE.finditer(text):
        # Back to the edge before at most, which is no indent either: a long line is not read once for each edge.
        line = max(seen, text.rfind("\n", seen, edge.start()) + 1)
        seen = edge.start()
        if edge[0] == "{|":
            if depth == 0 and not text[line : edge.start()].strip(" \t:*#;"):
                start, depth = edge.start(), 1
            elif depth:
                depth += 1
        elif depth and text[edge.start() - 1] != "|":
            depth -= 1
            if depth == 0:
                kept.append(text[done:start])
                done = edge.end()
    if depth:
        paragraph = text.find("\n\n", start)
        kept.append(text[done:start])
        done = paragraph if paragraph >= 0 else len(text)
    return "".join(kept) + text[done:]


def resolved(text: str, namespaces: Mapping[str, str]) -> str:
    """Templates and links replaced by what they show."""

    def shown(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _template(found[1])
        return _link(found[2], namespaces) if found[2] is not None else ""

    for _ in range(MAX_DEPTH):
        text, count = INNERMOST.subn(shown, text)
        if not count:
            break
    return text


def _template(content: str) -> str:
    name, *arguments = content.split("|")

    def unnamed() -> list[str]:
        """Also those that are named by their number."""
        pairs = [argument.partition("=") for argument in arguments]
        return [
            (value if equals else key).strip() for key, equals, value in pairs if not equals or key.strip().isdecimal()
        ]

    return expansion(" ".join(name.replace("_", " ").split()).lower(), unnamed)


def _link(content: str, namespaces: Mapping[str, str]) -> str:
    target, _, text = content.partition("|")
    target = target.strip()
    prefix, colon, _ = target.partition(":")
    if colon and prefix and namespaces.get(prefix.strip().lower(), "0") != "0":
        return ""
    if LANGUAGE_LINK.match(target):
        return ""
    return text or target.lstrip(":").partition("#")[0] or target.lstrip(":#")


def tidy(text: str) -> str:
    """Remove what the parser could not read as markup, the holes that removed templates leave, and empty sections."""
    text = MAGIC_WORD.sub("", LEFTOVER.sub("", text))
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text).replace("\xa0", " ").replace("\t", " ")
    text = EMPTY_BRACKETS.sub("", SPACES.sub(" ", text))
    *bracketed, last = text.split(")")
    text = ")".join([*(piece.rstrip(" ,;") for piece in bracketed), last])
    text = SPACES.sub(" ", SPACE_BEFORE_STOP.sub(r"\1", AFTER_HOLE.sub("(", text)))
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
