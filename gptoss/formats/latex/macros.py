"""The macros of a paper: removed from its text as definitions, and expanded where they are used.

In: LaTeX without comments. Out: the same without `\\newcommand`, `\\def`, `\\let` and `\\DeclareMathOperator`, the
macros that these define (with up to nine arguments, the first optional) expanded, also in the bodies of other macros.
Errors: a text that grows beyond the bounds raises `TooManyError`, so a macro bomb costs milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gptoss.formats.latex.symbols import KNOWN

# Characters that expansion may add, in addition to twice the text. A macro that doubles itself 30 times would make
# gigabytes.
MAX_GROWTH = 4 * 2**20
MAX_EXPANSIONS = 50_000
MAX_EXPANSION_DEPTH = 30
# Characters of a macro's body. Longer macros define layout; those that abbreviate text or formulas are short.
MAX_BODY = 2_000

ESCAPE_OR_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
CONTROL_WORD = re.compile(r"\\([A-Za-z@]+)")
DEFINITION = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?\s*+(?:\{\s*+\\(?P<braced>[A-Za-z@]+)\s*+\}"
    r"|\\(?P<new>[A-Za-z@]+))\s*+(?:\[(?P<count>\d)\])?\s*+(?:\[(?P<default>[^\[\]\n]{0,200})\])?\s*+(?=\{)"
    r"|\\(?:long\s*+\\)?[gex]?def\s*+\\(?P<def>[A-Za-z@]+)(?P<parameters>(?:#\d)*)\s*+(?=\{)"
    r"|\\DeclareMathOperator(?P<star>\*?)\s*+\{?\s*+\\(?P<operator>[A-Za-z@]+)\s*+\}?\s*+(?=\{)"
)
LET = re.compile(r"\\let\s*+\\([A-Za-z@]+)\s*+=?\s*+\\([A-Za-z@]+)")


@dataclass
class Macro:
    """`arguments` is their number, with the optional one, whose value is `default` when it is not given."""

    body: str
    arguments: int = 0
    default: str | None = None


def braces(text: str) -> dict[int, int]:
    """The position of the `}` that closes each `{`; unclosed ones are missing."""
    closes: dict[int, int] = {}
    stack: list[int] = []
    for token in ESCAPE_OR_BRACE.finditer(text):
        if token[0] == "{":
            stack.append(token.start())
        elif token[0] == "}" and stack:
            closes[stack.pop()] = token.start()
    return closes


def without_definitions(text: str) -> tuple[str, dict[str, Macro]]:
    """The text without the definitions of macros, and the macros by name. Of several definitions the last counts."""
    closes = braces(text)
    macros: dict[str, Macro] = {}
    parts: list[str] = []
    at = 0
    for found in DEFINITION.finditer(text):
        if found.start() < at or (end := closes.get(found.end())) is None:
            continue
        body = text[found.end() + 1 : end]
        parts.append(text[at : found.start()])
        at = end + 1
        name = found["braced"] or found["new"] or found["def"] or found["operator"]
        # Redefinitions of standard commands change their look, not their meaning.
        if name in KNOWN or len(body) > MAX_BODY:
            continue
        count = int(found["count"] or len(found["parameters"] or "") // 2)
        if found["operator"]:
            body = f"\\operatorname{found['star']}{{{body}}}"
        macros[name] = Macro(body, count, found["default"])
    rest = "".join([*parts, text[at:]])
    for name, target in LET.findall(rest):
        if target in macros and name not in KNOWN:
            macros[name] = macros[target]
    return LET.sub("", rest), macros


class TooManyError(Exception):
    """A macro bomb, or a macro that uses itself."""


@dataclass
class _Expander:
    macros: dict[str, Macro]
    left: int
    expansions: int = 0
    words: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        # One expression for all names: the text is searched once, however many macros a paper defines.
        self.words = re.compile(r"\\(" + "|".join(map(re.escape, self.macros)) + r")(?![A-Za-z@])")

    def run(self, text: str, depth: int = 0) -> str:
        """The text with every macro replaced. Raises `TooManyError` beyond the bounds."""
        if depth > MAX_EXPANSION_DEPTH:
            raise TooManyError
        parts: list[str] = []
        at = 0
        closes: dict[int, int] | None = None
        for found in self.words.finditer(text):
            if found.start() < at or (
                found.start() and text[found.start() - 1] == "\\" and _escaped(text, found.start())
            ):
                continue
            macro = self.macros[found[1]]
            if macro.arguments and closes is None:
                closes = braces(text)
            body, end = _applied(macro, text, found.end(), closes or {})
            self.expansions += 1
            self.left -= len(body)
            if self.expansions > MAX_EXPANSIONS or self.left < 0:
                raise TooManyError
            body = self.run(body, depth + 1) if "\\" in body else body
            parts += [text[at : found.start()], _joined(body, text[end : end + 1])]
            at = end
        return "".join([*parts, text[at:]]) if parts else text


def _escaped(text: str, at: int) -> bool:
    """Whether the backslash at `at` is the second one of a line break, which an odd number of backslashes before it
    shows."""
    # At most 50 are counted: in a run of a million backslashes the time would be quadratic.
    before = text[max(0, at - 50) : at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _applied(macro: Macro, text: str, at: int, closes: dict[int, int]) -> tuple[str, int]:
    """The body with the arguments that follow position `at`, and the position after them."""
    arguments: list[str] = []
    if macro.default is not None:
        optional = re.compile(r"\s*\[([^\[\]]{0,2000})\]").match(text, at)
        arguments.append(optional[1] if optional else macro.default)
        at = optional.end() if optional else at
    while len(arguments) < macro.arguments:
        at = _past_space(text, at)
        if text[at : at + 1] == "{" and at in closes:
            arguments.append(text[at + 1 : closes[at]])
            at = closes[at] + 1
        else:
            # As in TeX, an argument without braces is one command or one character.
            token = CONTROL_WORD.match(text, at)
            arguments.append(token[0] if token else text[at : at + 1])
            at = token.end() if token else at + 1
    if not macro.arguments:
        return macro.body, _past_space(text, at)
    return re.sub(r"#(\d)", lambda mark: _argument(arguments, int(mark[1])), macro.body), min(at, len(text))


def _argument(arguments: list[str], number: int) -> str:
    return arguments[number - 1] if 0 < number <= len(arguments) else ""


# Space after a command, which TeX skips; an empty line is a paragraph and not skipped.
SPACE = re.compile(r"[ \t]*(?:\n(?![ \t]*\n)[ \t]*)?")


def _past_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def _joined(body: str, following: str) -> str:
    """The body, followed by `{}` if the following letter would become part of its last command, or by the space that
    `\\xspace` inserts."""
    if body.rstrip().endswith("\\xspace"):
        body = body.rstrip().removesuffix("\\xspace")
        return f"{body} " if following.isalnum() or following in ("(", "$", "\\") else body
    if following.isalpha() and re.search(r"\\[A-Za-z@]+$", body):
        return body + "{}"
    return body


def expanded(text: str) -> str:
    """The text with the author's macros replaced by their bodies. Raises `TooManyError` beyond the bounds."""
    text, macros = without_definitions(text)
    if not macros:
        return text
    return _Expander(macros, MAX_GROWTH + 2 * len(text)).run(text)
