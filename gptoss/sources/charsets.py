"""Decode a page whose server or head may declare the wrong charset.

A byte order mark decides, then UTF-8 that is valid except for a few errors (other text is never valid UTF-8 by
accident), then the charset of the HTTP header, of the page itself, and the statistically most likely one, whichever
decodes with the fewest impossible characters. Servers declare Latin-1 by default whatever they serve, so that header
ranks below the page's own declaration, and below the statistics where most letters would be accented, which no language
of that charset has.
References: the WHATWG Encoding Standard for byte order marks and the supersets that browsers use.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator

BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# Pages declare a charset and use characters of its superset (typically the quotes of Windows-1252 in "Latin-1").
# Browsers decode with the superset, as the Encoding Standard demands.
SUPERSETS = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis_620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-16-le",
}  # fmt: skip
SERVER_DEFAULT = "cp1252"
# ISO-2022 text consists of ASCII bytes, so it is always valid UTF-8; only these sequences show what it is.
ISO_2022_ESCAPES = (b"\x1b$", b"\x1b(")
# Replacement characters, C1 controls, NUL and escape: no page means to show these.
IMPOSSIBLE = re.compile("[\ufffd\x80-\x9f\0\x1b]")
# Bytes that the statistics look at; pages can be megabytes.
SAMPLE = 1 << 16
# Broken characters per valid one beyond ASCII up to which text still counts as UTF-8: pages assembled from several
# sources often have a few Latin-1 bytes in UTF-8.
MAX_BROKEN = 1 / 20
# Share of accented letters above which text is not in a Western language. French, with the most, has 0.05.
MAX_ACCENTED = 0.4
# Share of NUL bytes at even or at odd positions from which a page counts as UTF-16; ASCII markup has nearly 1.
MIN_ZEROS = 0.2


def decode(data: bytes, declared: str | None) -> tuple[str, str]:
    """The text, and the charset that was used, by its Python name. `declared` is the charset of the HTTP header. Bytes
    that the charset does not have become U+FFFD."""
    for mark, charset in BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(charset, errors="replace"), charset
    sample = data[:SAMPLE]
    if utf_16 := _utf_16_without_mark(sample):
        return data.decode(utf_16, errors="replace"), utf_16
    if b"\x1b" not in sample or not any(escape in sample for escape in ISO_2022_ESCAPES):
        # UTF-8 is tried before any declaration: most pages are UTF-8, and a wrong header is common.
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-8"), "utf-8"
        text = data.decode("utf-8", errors="replace")
        if _is_mostly_valid(text):
            return text, "utf-8"
    best = min(_candidates(data, known(declared)), key=lambda charset: _impossible(data, charset), default="cp1252")
    return data.decode(best, errors="replace"), best


def known(charset: str | None) -> str | None:
    """Python's name of a charset (of its superset, see `SUPERSETS`); None for an unknown one and for codecs that are
    not charsets, such as `base64`."""
    try:
        name = codecs.lookup((charset or "").strip("\"' \t\0")).name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    return SUPERSETS.get(name, name)


def _utf_16_without_mark(sample: bytes) -> str | None:
    if b"\0" not in sample:
        return None
    half = max(1, len(sample) // 2)
    high_first, low_first = sample[::2].count(0) / half, sample[1::2].count(0) / half
    # NUL bytes at both parities mean binary data or UTF-32, not UTF-16.
    if max(high_first, low_first) < MIN_ZEROS or min(high_first, low_first) > MIN_ZEROS / 2:
        return None
    return "utf-16-be" if high_first > low_first else "utf-16-le"


def _is_mostly_valid(text: str) -> bool:
    broken = text.count("\ufffd")
    return broken <= MAX_BROKEN * sum(1 for c in re.findall(r"[^\0-\x7f]", text) if c != "\ufffd")


def _candidates(data: bytes, declared: str | None) -> Iterator[str]:
    """Charsets, the most trusted first: of equally good ones `min` takes the first."""
    from resiliparse.parse.encoding import detect_encoding

    guessed = known(detect_encoding(data[:SAMPLE], from_html_meta=False))
    own = known(detect_encoding(data[:SAMPLE], from_html_meta=True))  # its guess where the head declares nothing
    order = [declared, own, guessed]
    if declared == SERVER_DEFAULT:
        # own == guessed: the page declares nothing, or agrees with the guess.
        order = [own, declared, guessed] if own != guessed else [declared, guessed]
        if _accented(data) > MAX_ACCENTED:
            order = [own, guessed, declared]
    yield from dict.fromkeys(charset for charset in order if charset)


def _impossible(data: bytes, charset: str) -> int:
    return len(IMPOSSIBLE.findall(data[:SAMPLE].decode(charset, errors="replace")))


def _accented(data: bytes) -> float:
    """Share of letters beyond ASCII if this were Western text."""
    text = re.sub(r"<[^<>]*>", "", data[:SAMPLE].decode(SERVER_DEFAULT, errors="replace"))
    letters = re.findall(r"[^\W\d_]", text)
    return sum(1 for letter in letters if letter > "\x7f") / max(1, len(letters))
