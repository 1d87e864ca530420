"""Main text of an HTML page: resiliparse's extractor, then rules on lines for the boilerplate that it keeps.

In: markup. Out: the title, and the text without comments, headers, captions and teasers. Of the extracted lines, those
with typical boilerplate (cookies, picture credits, "read more") are removed, a long line that is repeated is kept once,
and short lines before the first and after the last line of running text are removed. A page of short lines (a poem, a
table) or with little text keeps everything that the extractor returns. The title is not repeated in the text.
References: resiliparse (Bevendorff et al. 2018); trimming at the edges is an idea of boilerpipe (Kohlschütter et al.
2010). `benchmarks/extraction.py` measures it against trafilatura.
"""

from __future__ import annotations

import re

# CSS selectors of elements that are removed. A selector costs about two per cent of the extraction time, so the list
# is short.
BOILERPLATE_ELEMENTS = ("h1", "header", "[class*=caption]", "[class*=photo]", "[class*=related]")
# Characters of main content below which the page is extracted again with what may be content on small pages, such as
# the comments of a forum or the header of a notice.
MIN_MAIN_CHARACTERS = 250
# A line of boilerplate is short; a paragraph that mentions a newsletter is not boilerplate.
MAX_BOILERPLATE_WORDS = 40
# Words of a line of running text that ends like a sentence, and of one that does not.
MIN_SENTENCE_WORDS = 6
MIN_LONG_LINE_WORDS = 20
# Characters of a line of running text in a script without spaces between words.
MIN_UNSPACED_CHARACTERS = 60
# Characters from which on a second copy of a line is removed: short lines such as a refrain may repeat.
MIN_REPEATED_CHARACTERS = 200
# Share of the text that must remain; if less would, the page is not running text and keeps everything.
MIN_REMAINING = 0.5
# Share of the text that may be removed at either end.
MAX_TRIMMED = 0.2

SENTENCE_END = frozenset(".!?…。！？:;\"”’»)]'*")
# How lines of boilerplate begin, in lower case.
BOILERPLATE_START = re.compile(
    r"\W{0,5}(?:advertisement|read more|see more|see also|also read|related|recommended|more (?:from|in|on)|share"
    r"|tweet|photos?|images?|credit|source|via|copyright|©|subscribe|sign up|click here|get breaking|follow us"
    r"|comments?|close|watch|listen|updated|published|posted|reporting by|download|trending|tags?|filed under"
    r"|topics?|leggi anche|фото)\b"
)
# What lines of boilerplate contain. A search for each in the lower-case line is five times as fast as one regular
# expression that ignores case.
BOILERPLATE_PHRASES = ("cookies", "all rights reserved", "getty image", "(image:", "/reuters", "newsletter", "©")


def main_text(markup: str) -> tuple[str, str]:
    """Title and main text of a page."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(markup)
    options = {"main_content": True, "alt_texts": False, "links": False, "form_fields": False, "noscript": False}
    skipped = list(BOILERPLATE_ELEMENTS)
    text = extract_plain_text(tree, **options, comments=False, post_meta=False, skip_elements=skipped)
    if len(text) < MIN_MAIN_CHARACTERS:
        text = max(text, extract_plain_text(tree, **options), key=len)
    return " ".join((tree.title or "").split()), without_boilerplate_lines(text).strip()


def without_boilerplate_lines(text: str) -> str:
    """The text without lines of boilerplate and without short lines at its ends."""
    lines: list[str] = []
    running: list[int] = []  # indices of lines of running text
    seen: set[str] = set()
    for line in text.split("\n"):
        if stripped := line.strip():
            if len(stripped) >= MIN_REPEATED_CHARACTERS:
                if stripped in seen:
                    continue
                seen.add(stripped)
            words = stripped.count(" ") + 1
            if words < MAX_BOILERPLATE_WORDS and _is_boilerplate(stripped.lower()):
                continue
            if _is_running_text(stripped, words):
                running.append(len(lines))
        lines.append(line)
    if not running:
        return text
    remaining = _trimmed(lines, running[0], running[-1] + 1)
    return "\n".join(remaining) if sum(map(len, remaining)) >= MIN_REMAINING * len(text) else text


def _is_boilerplate(line: str) -> bool:
    return BOILERPLATE_START.match(line) is not None or any(phrase in line for phrase in BOILERPLATE_PHRASES)


def _is_running_text(line: str, words: int) -> bool:
    return (
        words >= MIN_LONG_LINE_WORDS
        or (words >= MIN_SENTENCE_WORDS and line[-1] in SENTENCE_END)
        or (words < MIN_SENTENCE_WORDS and len(line) > MIN_UNSPACED_CHARACTERS)
    )


def _trimmed(lines: list[str], start: int, end: int) -> list[str]:
    """Lines `start` to `end`; an end that would lose too much text stays."""
    limit = MAX_TRIMMED * sum(map(len, lines))
    if sum(map(len, lines[:start])) > limit:
        start = 0
    if sum(map(len, lines[end:])) > limit:
        end = len(lines)
    return lines[start:end]
