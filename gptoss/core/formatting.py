"""Numbers and untrusted text, formatted for people.

Text of documents is untrusted: it may contain control characters, characters that reverse the text direction, HTML, or
Markdown. `plain` makes invisible characters visible, `cell` escapes Markdown; the HTML templates escape by themselves
(Jinja's autoescape).
"""

from __future__ import annotations

import re
import unicodedata

NOT_MEASURED = "not measured"

# Characters that hide or reorder text: Arabic letter mark, zero-width characters, line and paragraph separators, byte
# order mark, bidirectional embeddings, overrides and isolates (the "Trojan Source" characters).
_DIRECTION = {0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x2070)}
# Characters with a meaning inside a line of Markdown. An underscore inside a word has none (CommonMark 6.2).
_INLINE = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
# What begins a heading, list or rule at the start of a line; `\d*` for numbered lists.
_BLOCK = re.compile(r"^(\d*)([#+=.)-])")
# No orthography needs more marks on one letter; "Zalgo" text stacks dozens and covers neighbouring lines.
_MAX_COMBINING = 3
# Rounds to 1000 of the smaller unit in three digits: 999,600 is "1 million", not "1000 thousand".
_ROUNDS_UP = 0.9995


def plain(text: object) -> str:
    """Text with control, direction, tag and non-characters replaced by a visible sign. Line feeds and tabs stay;
    combining marks are limited to three per letter."""
    characters: list[str] = []
    marks = 0
    for character in str(text):
        code = ord(character)
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MAX_COMBINING:
            continue
        characters.append(character if character in "\n\t" else _visible(character, code))
    return "".join(characters)


def _visible(character: str, code: int) -> str:
    if code < 0x20:  # the block "Control Pictures" has a symbol for each
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    hostile = 0x80 <= code < 0xA0 or code in _DIRECTION or 0xE0000 <= code <= 0xE007F
    if hostile or 0xD800 <= code < 0xE000 or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
        return "\ufffd"
    return character


def line(text: object) -> str:
    """`plain` text on one line."""
    return " ".join(plain(text).split())


def cell(text: object) -> str:
    """One line of Markdown that renders as exactly this text, in a table cell or anywhere except at a line's start."""
    # Entities for < and >: some renderers treat a backslash before them as text and then parse the tag.
    return _ENTITY.sub("&amp;", _INLINE.sub(r"\\\g<0>", line(text))).replace("\\<", "&lt;").replace("\\>", "&gt;")


def code(text: object) -> str:
    """One line as Markdown code, in a table cell or anywhere else."""
    inner = line(text).replace("|", "\\|")
    # CommonMark: a code span ends at the next run of as many backticks as it began with.
    fence = "`" * (max((len(run) for run in re.findall("`+", inner)), default=0) + 1)
    pad = " " if inner.startswith("`") or inner.endswith("`") else ""
    return f"{fence}{pad}{inner}{pad}{fence}" if inner else ""


def quote(text: object) -> str:
    """A Markdown block quote that renders as this text, with its line breaks."""
    lines = [_BLOCK.sub(r"\1\\\2", cell(part)) for part in plain(text).strip("\n").split("\n")]
    return "\n".join(f"> {part}\\" if part else ">" for part in lines).removesuffix("\\")


def count(number: float | None) -> str:
    """1234567 as 1,234,567."""
    return NOT_MEASURED if number is None else f"{number:,.0f}"


def words(number: float | None) -> str:
    """1315000 as 1.31 million: at most three digits, for sentences."""
    if number is None:
        return NOT_MEASURED
    for limit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= limit * _ROUNDS_UP:
            return f"{number / limit:.3g} {name}"
    return count(number)


def size(number: float | None) -> str:
    """Bytes in decimal units: 4912345 as 4.91 MB."""
    if number is None:
        return NOT_MEASURED
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit * _ROUNDS_UP:
            value = number / limit
            return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float | None) -> str:
    """75.2 as 1 min 15 s."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.256 as 25.6 %."""
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.{digits}f}\u00a0%"


def decimal(number: float | None, digits: int = 3) -> str:
    """A number with a fixed number of decimals."""
    return NOT_MEASURED if number is None else f"{number:,.{digits}f}"


def significant(number: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits; very small and very large ones in powers of ten."""
    return NOT_MEASURED if number is None else f"{number:.{digits}g}"
