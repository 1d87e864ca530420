"""Clean converted LaTeX of what citations and references leave behind: empty brackets and superfluous space."""

from __future__ import annotations

import re

# Placeholder of a citation or reference until the text is tidied: a character of the private use area.
MARK = "\ue000"

# Brackets around citations and the words that belong to them, as in "(see …, e.g. …)". Brackets without a mark are
# text and stay.
EMPTY_BRACKETS = re.compile(rf" ?[(\[](?:[ ,;.\n–{MARK}-]|see|e\.g\.|cf|also|and|[Ee]qs?|[Ff]igs?|[Ss]ec)*+[)\]]")
MARKS = re.compile(rf" ?{MARK}(?:[ ,;–-]*+(?:and )?{MARK})*+")
BEFORE_STOP = re.compile(r" +(?=[.,;:!?)\]])")
AROUND_LINE = re.compile(r" *\n *")
EMPTY_LINES = re.compile(r"\n{3,}")
SPACES = re.compile(r" {2,}")


def tidied(text: str) -> str:
    """The text without marks, the brackets around them, and superfluous space."""
    if MARK in text:
        text = EMPTY_BRACKETS.sub(lambda match: "" if MARK in match[0] else match[0], text)
        text = MARKS.sub("", text)
    text = BEFORE_STOP.sub("", SPACES.sub(" ", text))
    return EMPTY_LINES.sub("\n\n", AROUND_LINE.sub("\n", text)).strip()
