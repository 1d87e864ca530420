"""Documents for comparing quality rules: real text of four kinds, synthetic text, and seeded changes to both that bring
documents near the bounds of the rules.

A pure function of the files that exist, with no dependencies. `tests/quality/datatrove.parquet` has datatrove's
decisions on these documents by hash, so a change of a document here leaves the recorded one without a counterpart.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import html
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

# Text found on any Debian machine.
MACHINE = Path("/usr/share/common-licenses")
# Synthetic words are random syllables; frequent words are needed by the rules on stop words.
SYLLABLES = "a be ca do en fa ging ha ing jo ka lo men no or pe qui ra se tion u ver wa xi yo za str th ed er"
FREQUENT = "the of and to in is that it was for on are with as be at have from this by The It but not they"
# Characters of the longest document.
LONGEST = 7000
# Lines that the rules of C4 look for.
LINES = (
    "Please enable JavaScript to go on.",
    "This site uses cookies, see our privacy policy and the terms of use.",
    "Lorem ipsum dolor sit amet.",
    "if (a) { b; }",
    "{",
    "x" * 1200 + " and so on.",
    "It was so [1] and so [edit] and [citation needed] again.[23]",
    "Menu",
    "Read more...",
    "",
)


def documents(data: Path | None, seed: int = 1) -> Iterator[str]:
    """Documents from the sample data folder `data` (if given), from this machine, and synthetic ones.

    Each is followed by two variants of it with seeded changes.
    """
    for text in _originals(data, seed):
        if not text.strip():
            continue
        yield text
        # Seeded by the text: its variants do not depend on which other files exist.
        generator = random.Random(f"{seed} {digest(text)}")
        for _ in range(2):
            changed = text
            for change in generator.choices(CHANGES, k=generator.choice((1, 1, 1, 2))):
                changed = change(changed, generator)
            if changed.strip():
                yield changed


def digest(text: str) -> str:
    """First 64 bits of the SHA-256, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _originals(data: Path | None, seed: int) -> Iterator[str]:
    """Texts before any change; those of a file do not depend on which other files exist."""
    readers: tuple[tuple[str, Callable[[Path, random.Random], Iterator[str]]], ...] = (
        ("gutenberg/*.txt", _book),
        ("arxiv/*/arXiv_src*.jsonl", _papers),
        ("wikipedia/en*.bz2", _wiki),
        ("common_crawl/*.warc.gz", _web),
    )
    for pattern, read in readers if data is not None else ():
        for path in sorted((data / "corpora").glob(pattern)):
            yield from read(path, random.Random(f"{seed} {path.name}"))
    # Links name the same licences again.
    for path in sorted(MACHINE.glob("*")):
        if path.is_file() and not path.is_symlink():
            yield from _cut(path.read_text("utf-8", errors="replace"), random.Random(f"{seed} {path.name}"), 6)
    generator = random.Random(seed)
    for _ in range(150):
        yield _synthetic(generator)


def _book(path: Path, generator: random.Random) -> Iterator[str]:
    yield from _cut(path.read_text("utf-8", errors="replace").replace("\r\n", "\n"), generator, 60)


def _cut(text: str, generator: random.Random, limit: int) -> Iterator[str]:
    """Up to `limit` documents of a few paragraphs each; every other one without line breaks within paragraphs."""
    paragraphs = [part.strip("\n") for part in re.split(r"\n{2,}", text) if part.strip()]
    for number in range(min(limit, 1 + len(paragraphs) // 12)):
        start = generator.randrange(max(1, len(paragraphs)))
        part = paragraphs[start : start + generator.choice((1, 2, 3, 5, 8, 12, 20))]
        if number % 2:
            part = [" ".join(paragraph.split()) for paragraph in part]
        yield generator.choice(("\n\n", "\n")).join(part)[:LONGEST]


def _papers(path: Path, generator: random.Random) -> Iterator[str]:
    for line in path.read_text("utf-8").splitlines():
        paper = json.loads(line)
        yield paper["metadata"]["abstract"]
        yield from _cut("\n\n".join(section["text"] for section in paper["body_text"]), generator, 5)


def _wiki(path: Path, generator: random.Random) -> Iterator[str]:
    dump = bz2.decompress(path.read_bytes()).decode("utf-8")
    for number, match in enumerate(re.finditer(r"<text[^>]*>([^<]{500,})</text>", dump)):
        text = html.unescape(match[1])
        if number % 2:  # half of the pages keep their markup, which is rich in the symbols that rules count
            text = re.sub(r"'{2,}|\[\[(?:[^|\]]*\|)?|\]\]|<[^>]*>|\{\{[^{}]*\}\}", "", text)
        yield from _cut(text, generator, 3)


def _web(path: Path, generator: random.Random) -> Iterator[str]:
    for page in gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace").split("WARC/1.0\r\n"):
        # Crude on purpose: navigation and broken lines are what the rules are for.
        body = re.sub(r"(?is)<(script|style).*?</\1>|<[^>]+>", "\n", page)
        yield "\n".join(line.strip() for line in html.unescape(body).splitlines() if line.strip())[:LONGEST]
        yield from _cut(html.unescape(body), generator, 3)


def _synthetic(generator: random.Random) -> str:
    lines = []
    for _ in range(generator.randrange(1, 12)):
        words = []
        for _ in range(generator.randrange(3, 90)):
            frequent = generator.random() < 0.4
            word = (
                generator.choice(FREQUENT.split())
                if frequent
                else "".join(generator.choices(SYLLABLES.split(), k=generator.randrange(1, 5)))
            )
            words.append(word + generator.choice(("", "", "", "", "", "", ",", ".", "?", "'s", "-" + word, "n't")))
        lines.append(" ".join(words) + generator.choice('.?!,"'))
    return "\n".join(lines)


def _repeat_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    repeated = generator.choices(lines, k=max(1, int(len(lines) * generator.random() * 0.7)))
    for line in repeated:
        lines.insert(generator.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def _repeat_paragraphs(text: str, generator: random.Random) -> str:
    parts = text.split("\n\n")
    return "\n\n".join(parts + generator.choices(parts, k=generator.randrange(1, len(parts) + 1)))


def _repeat_phrase(text: str, generator: random.Random) -> str:
    words = text.split(" ")
    start, size = generator.randrange(len(words)), generator.randrange(2, 14)
    phrase = words[start : start + size]
    for _ in range(max(1, int(len(words) * generator.random() * 0.5 / size))):
        at = generator.randrange(len(words) + 1)
        words[at:at] = phrase
    return " ".join(words)


def _add_marks(text: str, generator: random.Random) -> str:
    words = text.split(" ")
    mark, share = generator.choice(("#", "...", "…", "|", "*", "-", "=", "...\n", "…\n")), generator.random() * 0.25
    return " ".join(word + generator.choice((" ", "")) + mark if generator.random() < share else word for word in words)


def _add_numbers(text: str, generator: random.Random) -> str:
    share = generator.random() * 0.5
    return " ".join(str(generator.randrange(5000)) if generator.random() < share else word for word in text.split(" "))


def _bullets(text: str, generator: random.Random) -> str:
    # Around Gopher's bound of 0.9.
    share, mark = 0.75 + 0.25 * generator.random(), generator.choice(("- ", "• ", "  -"))
    return "\n".join(mark + line if generator.random() < share else line for line in text.split("\n"))


def _ellipsis_lines(text: str, generator: random.Random) -> str:
    share, mark = generator.random() * 0.6, generator.choice(("...", "…", "... "))
    return "\n".join(line + mark if generator.random() < share else line for line in text.split("\n"))


def _wrap(text: str, generator: random.Random) -> str:
    # From lines of one or two words to long ones: FineWeb's rules count short lines and newlines per word.
    width, lines, line = generator.randrange(8, 90), [], ""
    for word in text.split():
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    return "\n".join([*lines, line])


def _sentences(text: str, generator: random.Random) -> str:
    parts = re.split(r"(?<=[.!?])\s+", text)
    start = generator.randrange(len(parts))
    # Around C4's minimum of five sentences.
    return generator.choice((" ", "\n")).join(parts[start : start + generator.randrange(2, 9)])


def _truncate(text: str, generator: random.Random) -> str:
    words = text.split(" ")
    start = generator.randrange(max(1, len(words) - 60))
    return " ".join(words[start : start + generator.randrange(35, 75)])  # around Gopher's minimum of 50 words


def _drop_ends(text: str, generator: random.Random) -> str:
    share = generator.random()
    return "\n".join(line.rstrip(".!?\"'") if generator.random() < share else line for line in text.split("\n"))


def _shuffle_marks(text: str, generator: random.Random) -> str:
    positions = [i for i, character in enumerate(text) if character in ".,;:!?\"'()-"]
    marks = [text[i] for i in positions]
    generator.shuffle(marks)
    characters = list(text)
    for i, mark in zip(positions, marks, strict=True):
        characters[i] = mark
    return "".join(characters)


def _insert_line(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    line = generator.choice(LINES)
    for _ in range(generator.choice((1, 1, 3))):
        lines.insert(generator.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def _short_words(text: str, generator: random.Random) -> str:
    size, share = generator.randrange(1, 4), generator.random()
    return " ".join(word[:size] if generator.random() < share else word for word in text.split(" "))


def _long_words(text: str, generator: random.Random) -> str:
    words, share = text.split(" "), generator.random()
    return " ".join(word if generator.random() < share else word + generator.choice(words) for word in words)


def _capitals(text: str, generator: random.Random) -> str:
    unchanged = set(
        generator.sample(("the", "be", "to", "of", "and", "that", "have", "with"), k=generator.randrange(4))
    )
    return " ".join(word if word.lower() in unchanged else word.upper() for word in text.split(" "))


CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    _repeat_lines, _repeat_paragraphs, _repeat_phrase, _add_marks, _add_numbers, _bullets, _ellipsis_lines, _wrap,
    _sentences, _truncate, _drop_ends, _shuffle_marks, _insert_line, _short_words, _long_words, _capitals,
)  # fmt: skip
