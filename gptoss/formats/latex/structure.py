"""Where the groups, environments and arguments of a LaTeX source end.

The ends of all groups and environments are found in one pass each, so that no search is repeated while the source is
converted: otherwise a source with many unclosed openings would take quadratic time.
"""

from __future__ import annotations

import re

from gptoss.formats.latex.macros import braces

ENVIRONMENT = re.compile(r"\\(begin|end) ?\{([^{}\n]{1,60})\}")
OPTIONAL = re.compile(r" ?\[[^\[\]]{0,1000}\]")
# A letter that an accent command applies to: `\i`, `{\i}`, `o`, `{o}`. Two letters in braces carry a tie.
ACCENTED = re.compile(r" ?(?:\{ ?(?:\\([ij])|(\w{0,2})) ?\}|\\([ij])(?![A-Za-z]) ?|(\w))")
# An end is matched with one of this many innermost open environments. An end that fits none of them is ignored, as the
# begin that it belongs to may have been in a part that was removed.
MAX_UNCLOSED = 3


class Structure:
    """A source with the positions where its parts end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.closes = braces(text)
        self.environments: dict[int, tuple[int, int]] = {}
        """Start and end of the `\\end{…}` by the start of the `\\begin{…}`; unclosed environments are missing."""
        self._next: dict[str, tuple[int, int]] = {}
        open_environments: list[tuple[str, int]] = []
        for found in ENVIRONMENT.finditer(text):
            if found[1] == "begin":
                open_environments.append((found[2], found.start()))
            elif found[2] in (name for name, _ in open_environments[-MAX_UNCLOSED:]):
                while open_environments[-1][0] != found[2]:
                    open_environments.pop()
                self.environments[open_environments.pop()[1]] = (found.start(), found.end())

    def find(self, closing: str, at: int) -> int:
        """The next position of `closing`, -1 if there is none. The last result for each is cached, so that all searches
        together are one pass."""
        start, found = self._next.get(closing, (0, -2))
        if found == -2 or not start <= at <= (found if found >= 0 else len(self.text)):
            found = self.text.find(closing, at)
            self._next[closing] = (at, found)
        return found

    def group_end(self, at: int) -> int | None:
        """The end of the group that begins at `at` or after white space there; None if none does."""
        while self.text[at : at + 1] in (" ", "\n"):
            at += 1
        return self.closes.get(at)

    def past_arguments(self, at: int, count: int) -> int:
        """The position after up to `count` arguments and the optional ones before each."""
        for _ in range(count):
            while optional := OPTIONAL.match(self.text, at):
                at = optional.end()
            close = self.group_end(at)
            if close is None:
                return at
            at = close + 1
        return at

    def accent_base(self, at: int) -> tuple[str, int] | None:
        """The letter under an accent, and the position after it."""
        match = ACCENTED.match(self.text, at)
        return (match[1] or match[2] or match[3] or match[4] or "", match.end()) if match else None
