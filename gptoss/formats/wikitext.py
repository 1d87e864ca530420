"""Wikitext to the running text that a reader sees.

In: the markup of one page and its wiki's namespaces. Out: paragraphs and headings as plain lines; without templates
(except a few that stand for words of a sentence), tables, references, galleries, files, categories, language links and
magic words; formulas as LaTeX between `$`. Headings without any text left below them are dropped.

No tree is built: elements that show nothing are removed first, then templates and links are replaced from the innermost
outwards, one pass of a regular expression per level of nesting. All expressions take linear time and the number of
passes is bounded, so no markup takes long. The alternative, a parser of the whole grammar (mwparserfromhell), gives the
same words at a fraction of the speed, see `benchmarks/wikitext.py`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping

from gptoss.formats.wiki_templates import expansion

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Elements that are removed with their content.
REMOVED_ELEMENTS = (
    "ref|references|gallery|timeline|imagemap|score|hiero|templatedata|templatestyles|graph|mapframe|maplink|inputbox|"
    "charinsert|includeonly|ce|chem|table"
)
# Elements whose content is not markup.
VERBATIM = "nowiki|pre|syntaxhighlight|source|math"
ELEMENT = re.compile(rf"<(/?)({REMOVED_ELEMENTS}|{VERBATIM})\b([^<>]*)>", re.IGNORECASE)
BLOCK_TAG = re.compile(
    r"</?(?:p|div|blockquote|poem|li|ul|ol|dl|dd|dt|br|hr|center|h[1-6]|tr|td|th)\b[^<>]*>", re.IGNORECASE
)
TAG = re.compile(r"</?[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>")
TABLE_EDGE = re.compile(r"\{\|(?!\|)|\|\}(?!\})")
EXTERNAL_LINK = re.compile(
    r"\[(?:(?:https?|ftp|news|irc)://|mailto:|//)[^\s\[\]<>]*+[ \t]*+([^\[\]\n]*+)\]", re.IGNORECASE
)
BARE_URL = re.compile(r"\b(?:https?|ftp)://[^\s\[\]<>{}|\"]*[^\s\[\]<>{}|\".,;:!?()']")
# Text without double braces and double brackets. The quantifiers are possessive (`++`, `*+`): without them the
# expression would backtrack exponentially on unclosed braces.
_INSIDE = r"(?:[^{}\[\]]++|\{(?!\{)|\}(?!\})|\[(?!\[)|\](?!\]))*+"
# A template or link (or `{{{argument}}}`, which shows nothing) with no other one inside.
INNERMOST = re.compile(rf"\{{\{{\{{[^{{}}]*+\}}\}}\}}|\{{\{{({_INSIDE})\}}\}}|\[\[({_INSIDE})\]\]")
# Levels of nesting that are resolved; MediaWiki itself stops at 40.
MAX_DEPTH = 30
HEADING = re.compile(r"^=[^\n]*=[ \t]*+$", re.MULTILINE)
LIST_ITEM = re.compile(r"^[*#:;]+[ \t]*", re.MULTILINE)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:|simple:")
# Markup that is still there when everything else is resolved: unclosed, or nested too deeply.
LEFTOVER = re.compile(r"\[\[|\]\]|\{\{+|\}\}+|\{\||\|\}|'{2,}")
LEFTOVER_LINE = re.compile(r"^[ \t]*(?:[|!].*|-{4,}|[*#:;-]+|[,.;:()]*)$", re.MULTILINE)
EMPTY_BRACKETS = re.compile(r"\([\s,;:]*\)|\[\s*\]")
AFTER_OPENING_BRACKET = re.compile(r"\( *+[,;][ ,;]*+")
SPACE_BEFORE_STOP = re.compile(r" ([,.;:)](?!\w))")
SPACES = re.compile("  +")
BULLETS = re.compile(r"^(?:- )+", re.MULTILINE)
# The two marks are control characters, which XML cannot contain, so that no page can forge them. The first begins a
# heading line, followed by its level, until empty sections are known. The second encloses the number of a formula or
# verbatim text, which must not change while the text around it is tidied.
HEADING_MARK = "\x02"
VERBATIM_MARK = "\x03"
VERBATIM_REFERENCE = re.compile(f"{VERBATIM_MARK}(\\d+){VERBATIM_MARK}")
# The English names of namespaces are valid in every wiki. -2 is Media, which links to a file without a page.
ENGLISH = {"file": "6", "image": "6", "media": "-2", "category": "14"}


def plain_text(wikitext: str, namespaces: Mapping[str, str] | None = None) -> str:
    """The running text of a page, `""` when there is none. `namespaces`: number by lower-case name, from the head of
    the dump, in addition to the English names."""
    text = COMMENT.sub("", re.sub(f"[{HEADING_MARK}{VERBATIM_MARK}]", "", wikitext))
    # Verbatim text is set aside before anything else is read as markup, and put back after everything else.
    text, verbatim = without_elements(text)
    text = TAG.sub("", BLOCK_TAG.sub("\n", without_tables(text)))
    text = resolved(EXTERNAL_LINK.sub(r"\1", text), ENGLISH | dict(namespaces or {}))
    text = HEADING.sub(lambda found: _heading(found[0].strip()), text)
    text = LIST_ITEM.sub(lambda found: "- " if "*" in found[0] or "#" in found[0] else "", text)
    text = BARE_URL.sub("", text) if "://" in text else text
    return VERBATIM_REFERENCE.sub(lambda mark: verbatim[int(mark[1])], tidy(text))


def _heading(line: str) -> str:
    level = min(6, len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")))
    return f"\n\n{HEADING_MARK}{level}{' '.join(line[level:-level].split())}\n\n"


def without_elements(text: str) -> tuple[str, list[str]]:
    """Remove `REMOVED_ELEMENTS` and set aside verbatim text: formulas (as `$…$`), code, `<nowiki>`. It is replaced by
    marks with an index into the returned list. A tag without a partner is removed without any content."""
    tags = list(ELEMENT.finditer(text))
    closing = _closing(tags)
    pieces: list[str] = []
    verbatim: list[str] = []
    done = number = 0
    while number < len(tags):
        tag = tags[number]
        pieces.append(text[done : tag.start()])
        close = closing[number]
        name = tag[2].lower()
        if close is not None and name in VERBATIM.split("|"):
            content = text[tag.end() : tags[close].start()]
            verbatim.append(_verbatim(name, content))
            mark = f"{VERBATIM_MARK}{len(verbatim) - 1}{VERBATIM_MARK}" if content.strip() else ""
            pieces.append(mark if name in ("nowiki", "math") else f"\n{mark}\n")
        number = number + 1 if close is None else close + 1
        done = tags[number - 1].end()
    return "".join([*pieces, text[done:]]), verbatim


def _closing(tags: list[re.Match[str]]) -> list[int | None]:
    """For each tag the index of the tag that closes it, in one pass from the end: a search from each tag would take
    quadratic time."""
    closing: list[int | None] = [None] * len(tags)
    following: dict[str, list[int]] = {}
    for number in range(len(tags) - 1, -1, -1):
        tag, name = tags[number], tags[number][2].lower()
        waiting = following.setdefault(name, [])
        if tag[1]:
            if name != "table":
                waiting.clear()  # only tables may be nested in their own kind
            waiting.append(number)
        elif not tag[3].endswith("/") and waiting:
            closing[number] = waiting.pop() if name == "table" else waiting[-1]
    return closing


def _verbatim(name: str, content: str) -> str:
    if name == "math":
        return f"${' '.join(content.split())}$"
    return html.unescape(content).strip("\n") if name != "nowiki" else html.unescape(content)


def without_tables(text: str) -> str:
    """Remove `{| … |}` with everything nested in it; an unclosed table ends at the next empty line."""
    if "{|" not in text:
        return text
    pieces: list[str] = []
    depth = start = done = previous = 0
    for edge in TABLE_EDGE.finditer(text):
        # A table begins a line. The line start is searched back to the previous edge only, which is not indentation
        # either: otherwise a long line would be read once per edge.
        line = max(previous, text.rfind("\n", previous, edge.start()) + 1)
        previous = edge.start()
        if edge[0] == "{|":
            if depth == 0 and not text[line : edge.start()].strip(" \t:*#;"):
                start, depth = edge.start(), 1
            elif depth:
                depth += 1
        elif depth and text[edge.start() - 1] != "|":
            depth -= 1
            if depth == 0:
                pieces.append(text[done:start])
                done = edge.end()
    if depth:
        paragraph = text.find("\n\n", start)
        pieces.append(text[done:start])
        done = paragraph if paragraph >= 0 else len(text)
    return "".join(pieces) + text[done:]


def resolved(text: str, namespaces: Mapping[str, str]) -> str:
    """Templates and links replaced by the text that they show."""

    def replacement(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _template(found[1])
        return _link(found[2], namespaces) if found[2] is not None else ""

    for _ in range(MAX_DEPTH):
        text, count = INNERMOST.subn(replacement, text)
        if not count:
            break
    return text


def _template(content: str) -> str:
    name, *arguments = content.split("|")

    def unnamed() -> list[str]:
        """The unnamed arguments, including those that are named by their number (`1=…`)."""
        pairs = [argument.partition("=") for argument in arguments]
        return [
            (value if equals else key).strip() for key, equals, value in pairs if not equals or key.strip().isdecimal()
        ]

    return expansion(" ".join(name.replace("_", " ").split()).lower(), unnamed)


def _link(content: str, namespaces: Mapping[str, str]) -> str:
    target, _, text = content.partition("|")
    target = target.strip()
    # A link to a file or category shows nothing here. A leading colon (`[[:Category:X]]`) makes it an ordinary link.
    prefix, colon, _ = target.partition(":")
    if colon and prefix and namespaces.get(prefix.strip().lower(), "0") != "0":
        return ""
    if LANGUAGE_LINK.match(target):
        return ""
    return text or target.lstrip(":").partition("#")[0] or target.lstrip(":#")


def tidy(text: str) -> str:
    """Remove markup that was not resolved, the gaps that removed templates leave, and empty sections."""
    text = MAGIC_WORD.sub("", LEFTOVER.sub("", text))
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text).replace("\xa0", " ").replace("\t", " ")
    text = EMPTY_BRACKETS.sub("", SPACES.sub(" ", text))
    # ` ,;` before each closing bracket. By splitting: a regular expression would be quadratic in a run of blanks.
    *bracketed, last = text.split(")")
    text = ")".join([*(piece.rstrip(" ,;") for piece in bracketed), last])
    text = SPACES.sub(" ", SPACE_BEFORE_STOP.sub(r"\1", AFTER_OPENING_BRACKET.sub("(", text)))
    text = LEFTOVER_LINE.sub("", BULLETS.sub("- ", text))
    lines = [line.strip() for line in text.split("\n")]
    paragraphs = re.split(r"\n{2,}", "\n".join(line for line in lines if line != "-"))
    return "\n\n".join(_with_content([paragraph.strip("\n") for paragraph in paragraphs if paragraph.strip()]))


def _with_content(paragraphs: Iterable[str]) -> Iterator[str]:
    """The paragraphs, and the headings that have a paragraph before the next heading of their level or above."""
    waiting: list[tuple[int, str]] = []
    for paragraph in paragraphs:
        if paragraph.startswith(HEADING_MARK):
            level, title = int(paragraph[1]), paragraph[2:].strip()
            # A heading replaces those that wait on its level or below: their sections are empty.
            waiting = [(above, heading) for above, heading in waiting if above < level] + [(level, title)]
            continue
        yield from (heading for _, heading in waiting if heading)
        waiting = []
        yield paragraph
