"""The source files of one paper to one LaTeX text: main file, inclusions, comments, macros.

In: the text files of a paper by name. Out: a single text without comments in which `\\input` and `\\include` are
replaced by the files they name and the author's own macros by their bodies.
Errors: files are looked up among the given ones only; a file that includes itself is not included again; a paper whose
macros grow beyond the bounds keeps them unexpanded (`expanded` is false), so that a macro bomb costs milliseconds.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gptoss.formats.latex.macros import TooManyError, expanded, without_definitions

# Depth of inclusions in inclusions; TeX itself allows 15.
MAX_DEPTH = 10
# Characters of a paper with everything included; files that would exceed it are left out. Without a bound, ten files
# that include each other many times would make an exponential text.
MAX_CHARACTERS = 16 * 2**20
# Possible main files that are compared: each is assembled to find the longest.
MAX_CANDIDATES = 20
DOCUMENT = re.compile(r"^[^%\n]*\\(?:documentclass|documentstyle)\b", re.MULTILINE)
BEGIN = re.compile(r"^[^%\n]*\\begin\s*\{document\}", re.MULTILINE)
PLAIN_TEX = re.compile(r"^[^%\n]*\\(?:bye|magnification|input\s+amstex)\b", re.MULTILINE)
# What makes a file a main file, the strongest evidence first.
MAIN_MARKS = (BEGIN, DOCUMENT, PLAIN_TEX)
# arXiv's 00README.XXX names the main file where the authors had to.
README_TOP = re.compile(r"^(\S+\.\w+)\s+toplevelfile\b", re.MULTILINE)
PREFERRED = ("ms.tex", "main.tex", "paper.tex", "article.tex", "arxiv.tex")
INCLUDE = re.compile(
    r"\\(?:input|include|subfile|InputIfFileExists)\s*\{([^{}\n]{1,200})\}|\\input[ \t]+([^\s{}\\%]{1,200})"
    r"|\\(?:sub)?import\*?\s*\{([^{}\n]{0,200})\}\s*\{([^{}\n]{1,200})\}"
)
# A comment, unless its `%` is escaped (an even number of backslashes precede it), with its line end and the next line's
# indentation, as TeX reads it.
COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*+(?:\n[ \t]*+(?!\n))?")
LISTING = re.compile(r"\\begin\{(?P<name>verbatim\*?|lstlisting|minted|Verbatim)\}")
NEVER_SET = re.compile(r"\\(?:iffalse\b|begin\{(?P<name>comment)\})")
SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")
EMPTY_LINES = re.compile(r"\n ?\n[ \n]*")


@dataclass
class PaperSource:
    """The text of a paper and the name of its main file; `expanded` is false when it has too many macros to expand."""

    text: str
    main: str
    expanded: bool = True


def assembled(files: Mapping[str, str]) -> PaperSource | None:
    """The paper that these files make up, None when none of them is a main file."""
    main = main_file(files)
    if main is None:
        return None
    text = _included(files, main, (main,), _Budget(MAX_CHARACTERS))
    try:
        return PaperSource(expanded(text), main)
    except TooManyError:
        return PaperSource(without_definitions(text)[0], main, expanded=False)


def main_file(files: Mapping[str, str]) -> str | None:
    """The file that LaTeX is run on: the one that 00README names, else one with `\\begin{document}` (the usual names
    first, then the one that is longest with its inclusions), else with `\\documentclass`, else plain TeX."""
    for name, text in files.items():
        if posixpath.basename(name).lower().startswith("00readme"):
            for top in README_TOP.findall(text):
                if top in files:
                    return str(top)
    papers = {name: text for name, text in files.items() if not posixpath.basename(name).lower().startswith("00readme")}
    candidates = next(
        (found for mark in MAIN_MARKS if (found := [name for name, text in papers.items() if mark.search(text)])), []
    )
    if not candidates and len(papers) == 1:
        candidates = [name for name, text in papers.items() if "\\" in text]

    def order(name: str) -> tuple[bool, bool, int, str]:
        # Figures that are drawn by LaTeX are complete documents, of class `standalone`.
        standalone = "{standalone}" in papers[name][:2000]
        unusual = posixpath.basename(name).lower() not in PREFERRED
        return standalone, unusual, -len(_included(files, name, (name,), _Budget(MAX_CHARACTERS // 8))), name

    return candidates[0] if len(candidates) == 1 else min(sorted(candidates)[:MAX_CANDIDATES], key=order, default=None)


@dataclass
class _Budget:
    """Characters that may still be included, shared by all inclusions of a paper."""

    left: int


def _included(files: Mapping[str, str], name: str, above: tuple[str, ...], budget: _Budget) -> str:
    """The text of a file without comments, with its inclusions."""
    text = without_comments(files[name])
    budget.left -= len(text)
    if budget.left < 0:
        return ""

    def replace(match: re.Match[str]) -> str:
        wanted = match[1] or match[2] or posixpath.join(match[3] or "", match[4])
        found = _find(files, wanted.strip().strip('"'), posixpath.dirname(name), posixpath.dirname(above[0]))
        if found is None or found in above or len(above) > MAX_DEPTH:
            return ""
        body = _included(files, found, (*above, found), budget)
        return f"\n\n{body}\n\n" if match[0].startswith("\\include") else f"{body}\n"

    return INCLUDE.sub(replace, text)


def _find(files: Mapping[str, str], wanted: str, folder: str, root: str) -> str | None:
    """A file of the paper, with or without its extension, relative to the main file or to the including one."""
    for base in dict.fromkeys((root, folder)):
        path = posixpath.normpath(posixpath.join(base, wanted))
        for candidate in (path, f"{path}.tex", f"{path}.ltx"):
            if candidate in files:
                return candidate
    return None


def without_comments(text: str) -> str:
    """The text without comments, listings (where `%` does not begin a comment) and code that is never typeset. Runs of
    spaces and of empty lines become one."""
    # Listings first, because of their `%`; `\\iffalse` after the comments, as it may be commented out.
    text = COMMENT.sub(r"\1", _without(LISTING, text))
    return EMPTY_LINES.sub("\n\n", SPACES.sub(" ", _without(NEVER_SET, text)))


def _without(opening: re.Pattern[str], text: str) -> str:
    """The text without what is between an opening (outside comments) and its end."""
    parts: list[str] = []
    at = 0
    missing: set[str] = set()  # ends that do not occur any more: each is searched for once, not once per opening
    for found in opening.finditer(text):
        end = f"\\end{{{found['name']}}}" if found["name"] else "\\fi"
        if found.start() < at or end in missing or _commented(text, found.start()):
            continue
        close = text.find(end, found.end())
        if close < 0:
            missing.add(end)
            continue
        parts.append(text[at : found.start()])
        at = close + len(end)
    return "".join([*parts, text[at:]])


def _commented(text: str, at: int) -> bool:
    line = text[max(text.rfind("\n", 0, at) + 1, at - 1000) : at]
    return re.search(r"(?<!\\)%", line) is not None
