"""Quality rules of Gopher (Rae et al. 2021, appendix A1.1), with the published bounds in brackets.

- `min_words` [50], `max_words` [100000]: words that are not only punctuation;
- `min_mean_word_length` [3], `max_mean_word_length` [10]: characters in those words;
- `max_symbol_to_word_ratio` [0.1]: hash signs per word, or ellipses (`...` or `…`) per word, whichever is more;
- `max_bullet_line_fraction` [0.9]: lines that start with `•` or `-`;
- `max_ellipsis_line_fraction` [0.3]: lines that end with an ellipsis;
- `min_alphabetic_word_fraction` [0.8]: words with at least one letter; here punctuation marks count as words;
- `min_stop_words` [2]: how many of *the, be, to, of, and, that, have, with* occur, in lower case. They are English
  words: the rule does not apply to other languages.

Lines are those of `str.splitlines`, including empty ones; words are those of `words.py`.

    measure_words: one pass over the words:  sums of length, letters, stop words found (a bit set)
    measure_lines: one pass over the lines:  bullets, ellipses at the end; one over the bytes: hash signs, ellipses

References: the decisions are those of `datatrove.pipeline.filters.GopherQualityFilter`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.config.curate import GopherConfig
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import word_hash
from gptoss.quality.rules.compiled import Bytes, Floats, Int32s, Int64s, UInt32s, inlined, leaf
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import line_end, strip

MEASURES = (
    "words", "mean_word_length", "symbol_to_word_ratio", "bullet_line_fraction", "ellipsis_line_fraction",
    "alphabetic_word_fraction", "stop_words",
)  # fmt: skip
WORDS, MEAN_LENGTH, SYMBOLS, BULLETS, ELLIPSES, ALPHABETIC_FRACTION, STOP_WORDS = range(len(MEASURES))
# In the order in which they are tried: datatrove's, so that the first reason is the same.
KEYS = (
    "min_words", "max_words", "min_mean_word_length", "max_mean_word_length", "max_symbol_to_word_ratio",
    "max_bullet_line_fraction", "max_ellipsis_line_fraction", "min_alphabetic_word_fraction", "min_stop_words",
)  # fmt: skip
ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
LONGEST_STOP_WORD = 4
MARK_BYTES = 3  # of `...`, `…` and `•` alike


def rules(config: GopherConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are tried."""
    return tuple(Rule("gopher", key, key[len("min_") :], getattr(config, key)) for key in KEYS)


def stop_word_hashes() -> Int64s:
    """Hashes of the stop words, int64 [8]."""
    encoded = [np.frombuffer(bytearray(word.encode()), dtype=np.uint8) for word in ENGLISH_STOP_WORDS]
    return np.array([word_hash(data, 0, len(data)) for data in encoded], dtype=np.int64)


@leaf
def measure_words(hashes: Int64s, lengths: Int32s, kinds: UInt32s, count: int, stop_words: Int64s, out: Floats) -> None:
    """Fill the measures of words in `out`, float64 [MEASURES]; hashes, lengths and kinds are those of
    `describe_words`."""
    words, characters, alphabetic, found = 0, 0, 0, 0
    for word in range(count):
        kind = kinds[word]
        if kind & ch.NOT_SYMBOL:
            words += 1
            characters += lengths[word]
        if kind & ch.ALPHABETIC:
            alphabetic += 1
            if lengths[word] <= LONGEST_STOP_WORD and not kind & ch.NOT_PLAIN:
                for number in range(len(stop_words)):
                    if stop_words[number] == hashes[word]:
                        found |= 1 << number
    distinct = 0
    for number in range(len(stop_words)):
        distinct += (found >> number) & 1
    out[WORDS] = words
    out[MEAN_LENGTH] = characters / max(words, 1)
    out[ALPHABETIC_FRACTION] = alphabetic / max(count, 1)
    out[STOP_WORDS] = distinct


@leaf
def measure_lines(classes: UInt32s, data: Bytes, count: int, out: Floats) -> None:
    """Fill the measures of lines and symbols in `out`, float64 [MEASURES], for a text of `count` words."""
    lines, bullets, ended, start = 0, 0, 0, 0
    while start < len(data):
        end, following = line_end(data, start)
        first, last = strip(classes, data, start, end)
        lines += 1
        if first < last:
            bullets += data[first] == utf8.HYPHEN or _is_mark(data, first, last, utf8.BULLET_3)
            ended += ends_with_ellipsis(data, first, last)
        start = following
    hashes, ellipses, at = 0, 0, 0
    while at < len(data):
        byte = data[at]
        if byte == utf8.HASH_SIGN:
            hashes += 1
        elif (byte == utf8.FULL_STOP or byte == utf8.PUNCTUATION_1) and ends_with_ellipsis(
            data, at, min(at + MARK_BYTES, len(data))
        ):
            ellipses += 1
            at += MARK_BYTES - 1  # six full stops are two ellipses
        at += 1
    out[SYMBOLS] = max(hashes, ellipses) / max(count, 1)
    out[BULLETS] = bullets / max(lines, 1)
    out[ELLIPSES] = ended / max(lines, 1)


@inlined
def _is_mark(data: Bytes, start: int, end: int, last_byte: int) -> bool:
    """Does `data[start:end]` start with the general punctuation mark that ends with this byte?"""
    if end - start < MARK_BYTES or data[start] != utf8.PUNCTUATION_1:
        return False
    return data[start + 1] == utf8.PUNCTUATION_2 and data[start + 2] == last_byte


@inlined
def ends_with_ellipsis(data: Bytes, start: int, end: int) -> bool:
    """Does `data[start:end]` end with `...` or `…`?"""
    if end - start < MARK_BYTES:
        return False
    if data[end - 1] == utf8.FULL_STOP:
        return data[end - 2] == utf8.FULL_STOP and data[end - 3] == utf8.FULL_STOP
    return _is_mark(data, end - MARK_BYTES, end, utf8.ELLIPSIS_3)
