"""Rules of C4 (Raffel et al. 2020, section 2.2), with the published settings in brackets.

Lines (of `str.splitlines`, without surrounding white space) are cut when, in this order,
- a word (between white space) has more than `max_word_length` [1000] characters;
- `terminal_punctuation` [true]: they do not end in `. ? ! " '`, or end in `...`;
- they have fewer than `min_words_per_line` [3] words (between white space);
- `cut_javascript` [true]: they contain *javascript*;
- `cut_policy` [true]: they contain *terms of use, privacy policy, cookie policy, uses cookies, use of cookies* or
  *use cookies*.
`remove_citations` [true] removes `[1]`, `[]`, `[edit]` and `[citation needed]` from lines, before the rule on their
end. The remaining lines are joined by line feeds. Documents are removed when, in a line not cut by an earlier rule,
- `drop_lorem_ipsum` [true]: *lorem ipsum* occurs; `drop_curly_brackets` [true]: `{` occurs;
- `min_sentences` [5]: fewer sentences remain, where a line also ends one. Sentences are those of
  `words.count_sentences`.
FineWeb (Penedo et al. 2024) sets `terminal_punctuation: false`.

    for each line: copy it to out without citations; undo the copy if a line rule applies, stop if a document rule does
                   add its words and sentences
    strip out

References: decisions and texts are those of `datatrove.pipeline.filters.C4QualityFilter`, which does not apply C4's
list of bad words either.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.config.curate import C4Config
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import decode, is_digit
from gptoss.quality.rules.compiled import Bytes, Floats, Int32s, Int64s, UInt32s, inlined, leaf
from gptoss.quality.rules.gopher import ends_with_ellipsis
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import line_end, strip
from gptoss.quality.rules.words import count_sentences, split_words

MEASURES = ("sentences", "lorem_ipsum", "curly_brackets", "kept_line_fraction")
SENTENCES, LOREM_IPSUM, CURLY_BRACKETS, KEPT_LINES = range(len(MEASURES))
PHRASES = (
    "lorem ipsum", "javascript", "{", "terms of use", "privacy policy", "cookie policy", "uses cookies",
    "use of cookies", "use cookies",
)  # fmt: skip
CITATIONS = ("edit]", "citation needed]")  # after `[`
# Bits of the phrases in a bit set: one for each of the first three of `PHRASES`, and all the others together.
LOREM, JAVASCRIPT, CURLY = 1, 2, 4
POLICY = ~(LOREM | JAVASCRIPT | CURLY)
# Positions in the array of settings: kernels take arrays, not configuration.
MAX_WORD_LENGTH, REMOVE_CITATIONS, TERMINAL_PUNCTUATION, MIN_LINE_WORDS, WANTED_PHRASES = range(5)


def rules(config: C4Config) -> tuple[Rule, ...]:
    """The rules that remove documents, in the order in which they are tried."""
    return (
        *((Rule("c4", "drop_lorem_ipsum", "lorem_ipsum", 0),) if config.drop_lorem_ipsum else ()),
        *((Rule("c4", "drop_curly_brackets", "curly_brackets", 0),) if config.drop_curly_brackets else ()),
        Rule("c4", "min_sentences", "sentences", config.min_sentences),
    )


def phrase_table() -> tuple[Bytes, Int32s, Bytes]:
    """The phrases and citations for `clean_text`: their bytes, where each starts, int32 [phrases + 1], and a flag for
    each byte that starts a phrase in either case, uint8 [256]."""
    encoded = [phrase.encode() for phrase in (*PHRASES, *CITATIONS)]
    starts = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    is_first = np.zeros(256, dtype=np.uint8)
    for phrase in encoded[: len(PHRASES)]:
        is_first[[phrase[0], phrase[:1].upper()[0]]] = 1
    return np.frombuffer(bytearray(b"".join(encoded)), dtype=np.uint8), starts, is_first


def settings_array(config: C4Config) -> Int32s:
    """The settings for `clean_text`, int32 [5]."""
    wanted = (
        (config.drop_lorem_ipsum, LOREM), (config.cut_javascript, JAVASCRIPT), (config.drop_curly_brackets, CURLY),
        (config.cut_policy, POLICY),
    )  # fmt: skip
    return np.array(
        [
            config.max_word_length, config.remove_citations, config.terminal_punctuation, config.min_words_per_line,
            sum(bits for is_wanted, bits in wanted if is_wanted),
        ],
        dtype=np.int32,
    )  # fmt: skip


@leaf
def clean_text(
    classes: UInt32s, exceptions: Int64s, data: Bytes, phrases: Bytes, starts: Int32s, is_first: Bytes,
    settings: Int32s, spans: Int32s, stack: Int32s, out: Bytes, measures: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Write the remaining lines of `data` to `out` [at least len(data)] and fill `MEASURES`. Returns how many bytes and
    words remain; none for a document with a forbidden phrase."""
    size, words, count, kept, start = 0, 0, 0, 0, 0  # size: bytes of `out` that belong to kept lines
    measures[:] = 0
    while start < len(data):
        end, following = line_end(data, start)
        first, last = strip(classes, data, start, end)
        start = following
        count += 1
        line_words, longest = _line_words(classes, data, first, last)
        if longest > settings[MAX_WORD_LENGTH]:
            continue
        end = _copy_line(data, first, last, settings[REMOVE_CITATIONS], phrases, starts, out, size)
        if settings[TERMINAL_PUNCTUATION] and not _is_terminal(out, size, end):
            continue
        if line_words < settings[MIN_LINE_WORDS]:
            continue
        found = _find_phrases(out, size, end, phrases, starts, is_first) & settings[WANTED_PHRASES]
        if found & LOREM:
            measures[LOREM_IPSUM] = 1
            return 0, 0
        if found & JAVASCRIPT:
            continue
        if found & CURLY:
            measures[CURLY_BRACKETS] = 1
            return 0, 0
        if found & POLICY:
            continue
        line = out[size:end]
        line_count = split_words(classes, exceptions, line, 0, len(line), spans, stack)
        measures[SENTENCES] += count_sentences(classes, line, 0, spans, line_count)
        words, kept, size = words + line_count, kept + 1, end + 1
        if end < len(out):
            out[end] = utf8.LINE_FEED
    measures[KEPT_LINES] = kept / max(count, 1)
    first, last = strip(classes, out, 0, max(size - 1, 0))
    for at in range(first, last):
        out[at - first] = out[at]
    return last - first, words


@inlined
def _line_words(classes: UInt32s, data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Words between white space, and the characters of the longest."""
    words, length, longest = 0, 0, 0
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] & ch.SPACE:
            length = 0
        else:
            words += length == 0
            length += 1
            longest = max(longest, length)
        at += width
    return words, longest


@inlined
def _copy_line(
    data: Bytes, at: int, end: int, without_citations: int, phrases: Bytes, starts: Int32s, out: Bytes, size: int
) -> int:
    """Copy `data[at:end]` to `out[size:]`; returns the end of the copy."""
    while at < end:
        if without_citations and data[at] == utf8.LEFT_BRACKET:
            citation = _citation_size(data, at + 1, end, phrases, starts)
            if citation:
                at += 1 + citation
                continue
        out[size] = data[at]
        size += 1
        at += 1
    return size


@inlined
def _citation_size(data: Bytes, start: int, end: int, phrases: Bytes, starts: Int32s) -> int:
    """Bytes of a citation after its `[`; 0 if `data[start:end]` starts with none."""
    at = start
    while at < end and is_digit(data[at]):
        at += 1
    if at < end and data[at] == utf8.RIGHT_BRACKET:
        return at + 1 - start
    for number in range(len(PHRASES), len(PHRASES) + len(CITATIONS)):
        if _starts_with(data, start, end, phrases, starts[number], starts[number + 1], False):
            return starts[number + 1] - starts[number]
    return 0


@inlined
def _is_terminal(data: Bytes, start: int, end: int) -> bool:
    """Does `data[start:end]` end in one of `. ? ! " '`, but not in `...`?"""
    if start == end:
        return False
    last = data[end - 1]
    if last == utf8.FULL_STOP:
        return not ends_with_ellipsis(data, start, end)
    return last in (utf8.QUESTION_MARK, utf8.EXCLAMATION_MARK, utf8.QUOTATION_MARK, utf8.APOSTROPHE)


@inlined
def _find_phrases(data: Bytes, start: int, end: int, phrases: Bytes, starts: Int32s, is_first: Bytes) -> int:
    """Bit set of the phrases that occur in `data[start:end]`, ignoring case."""
    found = 0
    for at in range(start, end):
        if not is_first[data[at]]:
            continue
        for number in range(len(PHRASES)):
            if _starts_with(data, at, end, phrases, starts[number], starts[number + 1], True):
                found |= 1 << number
    return found


@inlined
def _starts_with(
    data: Bytes, at: int, end: int, phrases: Bytes, phrase: int, phrase_end: int, ignore_case: bool
) -> bool:
    """Does `data[at:end]` start with `phrases[phrase:phrase_end]`, which is in lower case?"""
    if at + phrase_end - phrase > end:
        return False
    while phrase < phrase_end:
        byte = data[at]
        if ignore_case and utf8.UPPER_A <= byte <= utf8.UPPER_Z:
            byte |= utf8.CASE_BIT
        if byte != phrases[phrase]:
            return False
        at, phrase = at + 1, phrase + 1
    return True
