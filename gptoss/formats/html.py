"""Main text of an HTML page: resiliparse's extractor, then what it leaves of navigation and captions by their lines.

In: markup. Out: title, and the text without comments, headers, captions and teasers. Of the extracted lines, those that
say what only furniture says (cookies, picture credits, "read more") go, a long line counts once, and short lines before
the first and after the last line of prose go. A page of short lines (a poem, a table) or with little text stays as the
extractor gives it. The title is not repeated in the text.
From: resiliparse (Bevendorff et al. 2018); trimming at the edges is an idea of boilerpipe (Kohlschütter et al. 2010).
`benchmarks/extraction.py` measures it against trafilatura.
"""

from __future__ import annotations

import re

FURNITURE = ("h1", "header", "[class*=caption]", "[class*=photo]", "[class*=related]")
"""CSS selectors of what no reader came for; each costs two per cent of the time."""
LITTLE = 250
"""Characters below which the page is read again with everything that may be content, such as comments."""
MAX_FURNITURE_WORDS = 40
MIN_PROSE_WORDS = 6
"""Of a line that ends like a sentence."""
LONG_LINE_WORDS = 20
"""A line that needs no such end."""
LONG_LINE = 60
"""Characters, in scripts without spaces between words."""
REPEATED = 200
"""Characters of a line of which the second and later copies go."""
MIN_KEPT = 0.5
"""Share of the text; where less is prose, the page is no prose."""
MAX_TRIMMED = 0.2
"""Share of the text that may go at either end."""

SENTENCE_END = frozenset(".!?…。！？:;\"”’»)]'*")
OPENINGS = re.compile(
    r"\W{0,5}(?:advertisement|read more|see more|see also|also read|related|recommended|more (?:from|in|on)|share"
    r"|tweet|photos?|images?|credit|source|via|copyright|©|subscribe|sign up|click here|get breaking|follow us"
    r"|comments?|close|watch|listen|updated|published|posted|reporting by|download|trending|tags?|filed under"
    r"|topics?|leggi anche|фото)\b"
)
"""How lines of furniture begin, in lower case."""
INSIDE = ("cookies", "all rights reserved", "getty image", "(image:", "/reuters", "newsletter", "©")
"""What they hold. Looked for one by one in a lowered line: as a pattern that ignores case, five times the time."""


def main_text(markup: str) -> tuple[str, str]:
    """Title and main text of a page."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(markup)
    options = {"main_content": True, "alt_texts": False, "links": False, "form_fields": False, "noscript": False}
    text = extract_plain_text(tree, **options, comments=False, post_meta=False, skip_elements=list(FURNITURE))
    if len(text) < LITTLE:
        text = max(text, extract_plain_text(tree, **options), key=len)
    return " ".join((tree.title or "").split()), prose(text).strip()


def prose(text: str) -> str:
    """The text without lines of furniture and without short lines at its ends."""
    lines: list[str] = []
    flowing: list[int] = []
    seen: set[str] = set()
    for line in text.split("\n"):
        if bare := line.strip():
            if len(bare) >= REPEATED:
                if bare in seen:
                    continue
                seen.add(bare)
            words = bare.count(" ") + 1
            if words < MAX_FURNITURE_WORDS and _is_furniture(bare.lower()):
                continue
            if _is_prose(bare, words):
                flowing.append(len(lines))
        lines.append(line)
    if not flowing:
        return text
    kept = _trimmed(lines, flowing[0], flowing[-1] + 1)
    return "\n".join(kept) if sum(map(len, kept)) >= MIN_KEPT * len(text) else text


def _is_furniture(lowered: str) -> bool:
    return OPENINGS.match(lowered) is not None or any(word in lowered for word in INSIDE)


def _is_prose(line: str, words: int) -> bool:
    return (
        words >= LONG_LINE_WORDS
        or (words >= MIN_PROSE_WORDS and line[-1] in SENTENCE_END)
        or (words < MIN_PROSE_WORDS and len(line) > LONG_LINE)
    )


def _trimmed(lines: list[str], start: int, end: int) -> list[str]:
    limit = MAX_TRIMMED * sum(map(len, lines))
    if sum(map(len, lines[:start])) > limit:
        start = 0
    if sum(map(len, lines[end:])) > limit:
        end = len(lines)
    return lines[start:end]
