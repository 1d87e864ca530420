"""Numbers and hostile text, made fit for a person to read.

Text of documents comes from strangers: it may hold control characters, characters that reverse the direction
of what follows, HTML, or Markdown. `plain` makes the invisible visible; the HTML templates escape (Jinja's
autoescape); `cell` escapes for Markdown.
"""

from __future__ import annotations

import re
import unicodedata

NOT_MEASURED = "not measured"

_DIRECTION = {0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x2070)}
_INLINE = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])")
"""What starts something inside a line of Markdown; an underscore inside a word does not."""
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK = re.compile(r"^(\d*)([#+=.)-])")
"""What starts a block at the start of a line: headings, lists, rules."""
_MAX_COMBINING = 3


def plain(text: object) -> str:
    """Text with control, direction, tag and non-characters replaced by a visible sign; line feeds and tabs stay.
    Towers of combining marks are cut to three."""
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
    if code < 0x20:
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
    """One line of Markdown that renders as exactly this text, in a table cell or anywhere but at a line's start."""
    return _ENTITY.sub("&amp;", _INLINE.sub(r"\\\g<0>", line(text))).replace("\\<", "&lt;").replace("\\>", "&gt;")


def code(text: object) -> str:
    """One line as Markdown code, in a table cell or anywhere else."""
    inner = line(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", inner)), default=0) + 1)
    pad = " " if inner.startswith("`") or inner.endswith("`") else ""
    return f"{fence}{pad}{inner}{pad}{fence}" if inner else ""


def quote(text: object) -> str:
    """A Markdown block quote that renders as this text, line for line."""
    lines = [_BLOCK.sub(r"\1\\\2", cell(part)) for part in plain(text).strip("\n").split("\n")]
    return "\n".join(f"> {part}\\" if part else ">" for part in lines).removesuffix("\\")


def count(number: float | None) -> str:
    """1234567 as 1,234,567."""
    return NOT_MEASURED if number is None else f"{number:,.0f}"


def words(number: float | None) -> str:
    """1315000 as 1.3 million: three digits at most, for sentences."""
    if number is None:
        return NOT_MEASURED
    for limit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= limit * 0.9995:
            return f"{number / limit:.3g} {name}"
    return count(number)


def size(number: float | None) -> str:
    """Bytes in decimal units: 4912345 as 4.91 MB."""
    if number is None:
        return NOT_MEASURED
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit * 0.9995:
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
    """A number with a fixed count of decimals."""
    return NOT_MEASURED if number is None else f"{number:,.{digits}f}"


def significant(number: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; very small and very large ones in powers of ten."""
    if number is None:
        return NOT_MEASURED
    return f"{number:.{digits}g}"
