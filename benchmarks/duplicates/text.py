"""Text found on any Debian machine: documentation, manual pages and licences, then Python's library and packages.

Files are read in the order of their paths, so a machine always gives the same text. Another machine gives another text,
which is why a result lists what its corpus was made of.
"""

from __future__ import annotations

import gzip
import html
import random
import re
import site
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# In this order: the best prose comes first, because a small corpus uses only the first files.
PROSE = (
    "/usr/share/common-licenses",
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/perl",
    "/usr/share/perl5",
    "/usr/share/vim",
    "/usr/share/dict",
    "/usr/share/gtk-doc",
    "/usr/lib/python3",
)
# Larger files are logs and data rather than documents; also the limit of decompression.
MAX_FILE_BYTES = 16 * 2**20
MIN_WORDS = 100
# Fraction of the characters of a piece other than white space; pieces below are tables, hex dumps and key material.
MIN_LETTERS = 0.6
MEDIAN_CHARACTERS = 2_000
# Standard deviation of the logarithm of sizes: they are log-normal, like those of web pages, with a mean of 2.8 KB.
SPREAD = 0.8
CHARACTERS = range(600, 20_000)

_CODE = {".py", ".pyi", ".pm", ".pl", ".pod"}
_TEXT = {"", ".txt", ".rst", ".md", ".text", ".tex", ".info", ".html", ".htm", ".changes", ".news", ".readme"} | _CODE
_MANUAL = re.compile(r"\.[1-9][a-z]*$")
_ROFF = re.compile(r"^[.'][ \t]*(?:\\\".*|[A-Za-z]{1,3}\b ?)|\\f[BIRP]|\\[&|/]", re.MULTILINE)
_MARKUP = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Piece:
    """A document-sized piece of a file."""

    text: str
    words: list[str]
    """Words of the normalised text: lowercase, split at every run of characters that are not `\\w`."""
    url: str
    origin: str
    """Top folder in which it was found."""


def words_of(text: str) -> list[str]:
    """The normalised words, with which all exact similarities of this benchmark are computed."""
    return _WORD.findall(text.lower())


def pieces(seed: int) -> Iterator[Piece]:
    """All pieces of all text files, prose first."""
    for path, origin in text_files():
        text = read_text(path)
        if text is None:
            continue
        # One generator per file: pieces do not depend on which other files the machine has.
        sizes = random.Random(f"{seed} {path}")
        for number, piece in enumerate(cut(text, sizes)):
            words = words_of(piece)
            if len(words) >= MIN_WORDS and _letter_fraction(piece) >= MIN_LETTERS:
                yield Piece(piece, words, f"file://{path}#{number}", origin)


def text_files() -> Iterator[tuple[Path, str]]:
    """Files with the name of a text file, and the top folder of each; every file once."""
    libraries = [sysconfig.get_path("stdlib"), *site.getsitepackages()]
    visited: set[Path] = set()  # resolved, because Debian links equal files of related packages to each other
    for root in (*PROSE, *sorted(set(libraries))):
        for path in sorted(Path(root).rglob("*")):
            if _is_text(path) and path.is_file() and (real := path.resolve()) not in visited:
                visited.add(real)
                yield path, root if root in PROSE else "python"


def _is_text(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    suffix = Path(name).suffix.lower()
    return suffix in _TEXT or bool(_MANUAL.search(name))


def read_text(path: Path) -> str | None:
    """Text of a file, decompressed, without roff requests and HTML tags; None when it is not UTF-8 text."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, MAX_FILE_BYTES)
        text = data.decode()
    except (OSError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError):
        return None
    if "\0" in text:  # binary data that happens to be valid UTF-8
        return None
    name = path.name.removesuffix(".gz")
    if name.endswith((".html", ".htm")):
        return html.unescape(_MARKUP.sub(" ", text))
    return _ROFF.sub("", text) if _MANUAL.search(name) else text


def cut(text: str, sizes: random.Random) -> Iterator[str]:
    """Cut at the ends of lines into pieces of random sizes."""
    lines: list[str] = []
    length, target = 0, _size(sizes)
    for line in text.splitlines(keepends=True):
        lines.append(line)
        length += len(line)
        if length >= target:
            yield "".join(lines)
            lines, length, target = [], 0, _size(sizes)
    if length >= CHARACTERS.start:
        yield "".join(lines)


def _size(sizes: random.Random) -> int:
    drawn = int(MEDIAN_CHARACTERS * sizes.lognormvariate(0.0, SPREAD))
    return min(max(drawn, CHARACTERS.start), CHARACTERS.stop)


def _letter_fraction(text: str) -> float:
    letters = sum(map(len, re.findall(r"[^\W\d_]+", text)))
    return letters / max(1, sum(map(len, text.split())))
