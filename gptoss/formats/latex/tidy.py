"""Converted LaTeX without what citations and references leave behind: their brackets, and needless space."""

from __future__ import annotations

import re

MARK = "\ue000"
"""Stands where a citation or reference was, until the text is tidied."""

EMPTY_BRACKETS = re.compile(rf" ?[(\[](?:[ ,;.\n–{MARK}-]|see|e\.g\.|cf|also|and|[Ee]qs?|[Ff]igs?|[Ss]ec)*+[)\]]")
MARKS = re.compile(rf" ?{MARK}(?:[ ,;–-]*+(?:and )?{MARK})*+")
BEFORE_STOP = re.compile(r" +(?=[.,;:!?)\]])")
AROUND_LINE = re.compile(r" *\n *")
EMPTY_LINES = re.compile(r"\n{3,}")
SPACES = re.compile(r" {2,}")


def tidied(text: str) -> str:
    """The text without marks, the brackets around them, and needless space."""
    if MARK in text:
        text = EMPTY_BRACKETS.sub(lambda match: "" if MARK in match[0] else match[0], text)
        text = MARKS.sub("", text)
    text = BEFORE_STOP.sub("", SPACES.sub(" ", text))
    return EMPTY_LINES.sub("\n\n", AROUND_LINE.sub("\n", text)).strip()
