"""Bytes of a page to text, when what its server and its head say of the charset may be wrong.

A byte order mark decides, then UTF-8 that is valid but for rare slips (other text never is by accident), then the
charset of the HTTP header, the page's own, and the one that statistics suggest, whichever decodes with the fewest
impossible characters. Servers send Latin-1 by default whatever they serve, so a header that says so stands behind the
page's own word, and behind the statistics where most letters would be accented, which no language of that charset does.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator

BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
SUPERSETS = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis_620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-16-le",
}  # fmt: skip
"""As all browsers read them (WHATWG Encoding Standard)."""
SERVER_DEFAULT = "cp1252"
ESCAPES = (b"\x1b$", b"\x1b(")
"""Begin what is not ASCII in ISO-2022 text, whose bytes all are."""
IMPOSSIBLE = re.compile("[\ufffd\x80-\x9f\0\x1b]")
SAMPLE = 1 << 16
"""Bytes that statistics and counts look at."""
MAX_SLIPS = 1 / 20
"""Broken characters for each sound one beyond ASCII, in text that still counts as UTF-8."""
MAX_ACCENTED = 0.4
"""Of the letters of a text in a Western language; French has 0.05."""
MIN_ZEROS = 0.2
"""Share of NUL bytes at even or at odd places from which a page counts as UTF-16; ASCII markup has nearly all."""


def decode(data: bytes, declared: str | None) -> tuple[str, str]:
    """The text and the charset that was used, a name that Python knows. `declared` is the HTTP header's. Bytes that
    are not of that charset become U+FFFD."""
    for mark, charset in BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(charset, errors="replace"), charset
    sample = data[:SAMPLE]
    if wide := _wide(sample):
        return data.decode(wide, errors="replace"), wide
    if b"\x1b" not in sample or not any(escape in sample for escape in ESCAPES):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-8"), "utf-8"
        text = data.decode("utf-8", errors="replace")
        if _mostly_sound(text):
            return text, "utf-8"
    best = min(_candidates(data, known(declared)), key=lambda charset: _impossible(data, charset), default="cp1252")
    return data.decode(best, errors="replace"), best


def known(charset: str | None) -> str | None:
    """The name that Python has for a charset; None when it has none, or when it is no charset for text."""
    try:
        name = codecs.lookup((charset or "").strip("\"' \t\0")).name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    return SUPERSETS.get(name, name)


def _wide(sample: bytes) -> str | None:
    """UTF-16 without its mark."""
    if b"\0" not in sample:
        return None
    half = max(1, len(sample) // 2)
    high_first, low_first = sample[::2].count(0) / half, sample[1::2].count(0) / half
    if max(high_first, low_first) < MIN_ZEROS or min(high_first, low_first) > MIN_ZEROS / 2:
        return None
    return "utf-16-be" if high_first > low_first else "utf-16-le"


def _mostly_sound(text: str) -> bool:
    broken = text.count("\ufffd")
    return broken <= MAX_SLIPS * sum(1 for c in re.findall(r"[^\0-\x7f]", text) if c != "\ufffd")


def _candidates(data: bytes, declared: str | None) -> Iterator[str]:
    """Charsets in the order in which they are believed."""
    from resiliparse.parse.encoding import detect_encoding

    guessed = known(detect_encoding(data[:SAMPLE], from_html_meta=False))
    own = known(detect_encoding(data[:SAMPLE], from_html_meta=True))  # its guess where the head says nothing
    order = [declared, own, guessed]
    if declared == SERVER_DEFAULT:
        order = [own, declared, guessed] if own != guessed else [declared, guessed]
        if _accented(data) > MAX_ACCENTED:
            order = [own, guessed, declared]
    yield from dict.fromkeys(charset for charset in order if charset)


def _impossible(data: bytes, charset: str) -> int:
    return len(IMPOSSIBLE.findall(data[:SAMPLE].decode(charset, errors="replace")))


def _accented(data: bytes) -> float:
    """Share of letters beyond ASCII, were this Western text."""
    text = re.sub(r"<[^<>]*>", "", data[:SAMPLE].decode(SERVER_DEFAULT, errors="replace"))
    letters = re.findall(r"[^\W\d_]", text)
    return sum(1 for letter in letters if letter > "\x7f") / max(1, len(letters))
