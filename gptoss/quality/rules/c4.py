"""Rules of C4 (Raffel et al. 2020, section 2.2), with the published settings in brackets.

Lines (of `str.splitlines`, without white space around them) are cut out when, in this order,
- a word (between white space) has more than `max_word_length` [1000] characters;
- `terminal_punctuation` [true]: they do not end in `. ? ! " '`, or end in `...`;
- they have fewer than `min_words_per_line` [3] words (between white space);
- `cut_javascript` [true]: they mention *javascript*;
- `cut_policy` [true]: they mention *terms of use, privacy policy, cookie policy, uses cookies, use of cookies* or
  *use cookies*.
`remove_citations` [true] takes `[1]`, `[]`, `[edit]` and `[citation needed]` out of lines, before the rule on their
end. What remains is joined by line feeds. Documents are removed when, in a line not cut by an earlier rule,
- `drop_lorem_ipsum` [true]: *lorem ipsum* occurs; `drop_curly_brackets` [true]: `{` occurs;
- `min_sentences` [5]: fewer sentences remain, a line ending one too. Sentences are those of `words.sentences`.
FineWeb (Penedo et al. 2024) sets `terminal_punctuation: false`. Decisions and texts as
`datatrove.pipeline.filters.C4QualityFilter`; the list of bad words is not applied there either.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss.config.curate import C4Config
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import Bytes, Int32s, Int64s, Spans, UInt32s, decode
from gptoss.quality.rules.compiled import inlined, leaf
from gptoss.quality.rules.gopher import ellipsis_before
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import line_end, strip
from gptoss.quality.rules.words import sentences, split

MEASURES = ("sentences", "lorem_ipsum", "curly_brackets", "kept_line_fraction")
PHRASES = (
    "lorem ipsum", "javascript", "{", "terms of use", "privacy policy", "cookie policy", "uses cookies",
    "use of cookies", "use cookies",
)  # fmt: skip
CITATIONS = ("edit]", "citation needed]")
SPACE = ch.SPACE
LOREM, JAVASCRIPT, CURLY, POLICY = 1, 2, 4, -8
"""Bits of the phrases: the first three, and all others."""


def rules(c4: C4Config) -> tuple[Rule, ...]:
    """The rules that remove documents, in the order in which they are tried."""
    return (
        *((Rule("c4.drop_lorem_ipsum", "lorem_ipsum", ">", 0),) if c4.drop_lorem_ipsum else ()),
        *((Rule("c4.drop_curly_brackets", "curly_brackets", ">", 0),) if c4.drop_curly_brackets else ()),
        Rule("c4.min_sentences", "sentences", "<", c4.min_sentences),
    )


def phrases() -> tuple[Bytes, Int32s, Bytes]:
    """The phrases for `clean_text`: their bytes, int32 [phrases + 1] where each starts, and a flag for each byte that
    starts one."""
    encoded = [phrase.encode() for phrase in (*PHRASES, *CITATIONS)]
    starts = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    first = np.zeros(256, dtype=np.uint8)
    for phrase in encoded[: len(PHRASES)]:
        first[[phrase[0], phrase[:1].upper()[0]]] = 1
    return np.frombuffer(bytearray(b"".join(encoded)), dtype=np.uint8), starts, first


def switches(c4: C4Config) -> Int32s:
    """The settings for `clean_text`, int32 [6]."""
    return np.array(
        [
            c4.max_word_length,
            c4.remove_citations,
            c4.terminal_punctuation,
            c4.min_words_per_line,
            (LOREM if c4.drop_lorem_ipsum else 0)
            | (JAVASCRIPT if c4.cut_javascript else 0)
            | (CURLY if c4.drop_curly_brackets else 0)
            | (POLICY if c4.cut_policy else 0),
        ],
        dtype=np.int32,
    )


@leaf
def clean_text(
    classes: UInt32s,
    known: Int64s,
    data: Bytes,
    phrases: Bytes,
    starts: Int32s,
    first: Bytes,
    switches: Int32s,
    spans: Spans,
    stack: Int32s,
    out: Bytes,
    row: npt.NDArray[np.float64],
) -> tuple[int, int]:
    """Write the lines of `data` that remain to `out` [at least len(data)] and fill `MEASURES` in `row`. Returns how
    many bytes and words remain; of a document with a forbidden phrase, none."""
    size, words, count, kept, start = 0, 0, 0, 0, 0
    row[:] = 0
    while start < len(data):
        end, following = line_end(data, start)
        a, b = strip(classes, data, start, end)
        start = following
        count += 1
        line_words, longest = _line_words(classes, data, a, b)
        if longest > switches[0]:
            continue
        end = _copy_line(data, a, b, switches[1], phrases, starts, out, size)
        if switches[2] and not _terminal(out, size, end):
            continue
        if line_words < switches[3]:
            continue
        found = _phrases(out, size, end, phrases, starts, first) & switches[4]
        if found & LOREM:
            row[1] = 1
            return 0, 0
        if found & JAVASCRIPT:
            continue
        if found & CURLY:
            row[2] = 1
            return 0, 0
        if found & POLICY:
            continue
        line = out[size:end]
        number = split(classes, known, line, 0, len(line), spans, stack)
        row[0] += sentences(classes, line, 0, spans, number)
        words, kept, size = words + number, kept + 1, end + 1
        if end < len(out):
            out[end] = 10
    row[3] = kept / max(count, 1)
    a, b = strip(classes, out, 0, max(size - 1, 0))
    for i in range(a, b):
        out[i - a] = out[i]
    return b - a, words


@inlined
def _line_words(classes: UInt32s, data: Bytes, a: int, b: int) -> tuple[int, int]:
    """Words between white space, and the characters of the longest."""
    words, length, longest = 0, 0, 0
    while a < b:
        code, width = decode(data, a, b)
        if classes[code] & SPACE:
            length = 0
        else:
            words += length == 0
            length += 1
            longest = max(longest, length)
        a += width
    return words, longest


@inlined
def _copy_line(
    data: Bytes, a: int, b: int, citations: int, phrases: Bytes, starts: Int32s, out: Bytes, size: int
) -> int:
    """Copy `data[a:b]` to `out[size:]`, without citations if so wanted; returns the end of the copy."""
    while a < b:
        if citations and data[a] == 91:
            skipped = _citation(data, a + 1, b, phrases, starts)
            if skipped:
                a += 1 + skipped
                continue
        out[size] = data[a]
        size += 1
        a += 1
    return size


@inlined
def _citation(data: Bytes, a: int, b: int, phrases: Bytes, starts: Int32s) -> int:
    """Bytes of what makes the bracket before `a` a citation."""
    i = a
    while i < b and 48 <= data[i] <= 57:
        i += 1
    if i < b and data[i] == 93:
        return i + 1 - a
    for number in range(len(starts) - 3, len(starts) - 1):
        size = starts[number + 1] - starts[number]
        if _matches(data, a, b, phrases, starts[number], starts[number + 1], False):
            return size
    return 0


@inlined
def _terminal(data: Bytes, a: int, b: int) -> bool:
    """Does `data[a:b]` end in one of `. ? ! " '`, but not in `...`?"""
    if a == b:
        return False
    c = data[b - 1]
    return c == 63 or c == 33 or c == 34 or c == 39 or (c == 46 and not ellipsis_before(data, a, b))


@inlined
def _phrases(data: Bytes, a: int, b: int, phrases: Bytes, starts: Int32s, first: Bytes) -> int:
    """Bit set of the phrases that occur in `data[a:b]`, whatever their case."""
    found = 0
    for i in range(a, b):
        if not first[data[i]]:
            continue
        for number in range(len(starts) - 3):
            if _matches(data, i, b, phrases, starts[number], starts[number + 1], True):
                found |= 1 << number
    return found


@inlined
def _matches(data: Bytes, i: int, b: int, phrases: Bytes, p: int, q: int, fold: bool) -> bool:
    """Does `data[i:b]` start with `phrases[p:q]`, its capitals folded to small letters or not?"""
    if i + q - p > b:
        return False
    while p < q:
        c = data[i]
        if fold and 65 <= c <= 90:
            c |= 32
        if c != phrases[p]:
            return False
        i, p = i + 1, p + 1
    return True
