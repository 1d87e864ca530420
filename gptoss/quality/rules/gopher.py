"""Quality rules of Gopher (Rae et al. 2021, appendix A1.1), with the published bounds in brackets.

- `min_words` [50], `max_words` [100000]: words that are not mere punctuation;
- `min_mean_word_length` [3], `max_mean_word_length` [10]: characters in those words;
- `max_symbol_to_word_ratio` [0.1]: hash signs, or ellipses (`...` or `…`), a word, whichever is more;
- `max_bullet_line_fraction` [0.9]: lines that start with `•` or `-`;
- `max_ellipsis_line_fraction` [0.3]: lines that end with an ellipsis;
- `min_alphabetic_word_fraction` [0.8]: words with at least one letter, punctuation marks counting as words;
- `min_stop_words` [2]: how many of *the, be, to, of, and, that, have, with* occur, in lower case. They are English
  words: the rule does not apply to other languages.

Lines are those of `str.splitlines`, empty ones included; words are those of `words.py`. Decisions as
`datatrove.pipeline.filters.GopherQualityFilter`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss.config.curate import GopherConfig
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import Bytes, Int32s, Int64s, UInt32s, word_hash
from gptoss.quality.rules.compiled import inlined, leaf
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import line_end, strip

MEASURES = (
    "words",
    "mean_word_length",
    "symbol_to_word_ratio",
    "bullet_line_fraction",
    "ellipsis_line_fraction",
    "alphabetic_word_fraction",
    "stop_words",
)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
LONGEST_STOP_WORD = 4
ALPHABETIC, WORDLY, NOT_PLAIN = ch.ALPHABETIC, ch.WORDLY, ch.NOT_PLAIN


def rules(gopher: GopherConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are tried."""
    return (
        Rule("gopher.min_words", "words", "<", gopher.min_words),
        Rule("gopher.max_words", "words", ">", gopher.max_words),
        Rule("gopher.min_mean_word_length", "mean_word_length", "<", gopher.min_mean_word_length),
        Rule("gopher.max_mean_word_length", "mean_word_length", ">", gopher.max_mean_word_length),
        Rule("gopher.max_symbol_to_word_ratio", "symbol_to_word_ratio", ">", gopher.max_symbol_to_word_ratio),
        Rule("gopher.max_bullet_line_fraction", "bullet_line_fraction", ">", gopher.max_bullet_line_fraction),
        Rule("gopher.max_ellipsis_line_fraction", "ellipsis_line_fraction", ">", gopher.max_ellipsis_line_fraction),
        Rule(
            "gopher.min_alphabetic_word_fraction",
            "alphabetic_word_fraction",
            "<",
            gopher.min_alphabetic_word_fraction,
        ),
        Rule("gopher.min_stop_words", "stop_words", "<", gopher.min_stop_words),
    )


def stop_hashes() -> Int64s:
    """Hashes of the stop words, int64 [8]."""
    encoded = [np.frombuffer(bytearray(word.encode()), dtype=np.uint8) for word in STOP_WORDS]
    return np.array([word_hash(data, 0, len(data)) for data in encoded], dtype=np.int64)


@leaf
def measure_words(
    hashes: Int64s, lengths: Int32s, kinds: UInt32s, count: int, stops: Int64s, out: npt.NDArray[np.float64]
) -> None:
    """Fill the measures of words in `out`, float64 [MEASURES]: hashes, lengths and kinds are those of `describe`."""
    words, characters, alphabetic, found = 0, 0, 0, 0
    for k in range(count):
        kind = kinds[k]
        if kind & WORDLY:
            words += 1
            characters += lengths[k]
        if kind & ALPHABETIC:
            alphabetic += 1
            if lengths[k] <= LONGEST_STOP_WORD and not kind & NOT_PLAIN:
                for number in range(len(stops)):
                    if stops[number] == hashes[k]:
                        found |= 1 << number
    stop_words = 0
    for number in range(len(stops)):
        stop_words += (found >> number) & 1
    out[0] = words
    out[1] = characters / max(words, 1)
    out[5] = alphabetic / max(count, 1)
    out[6] = stop_words


@leaf
def measure_lines(classes: UInt32s, data: Bytes, count: int, out: npt.NDArray[np.float64]) -> None:
    """Fill the measures of lines and symbols in `out`, float64 [MEASURES], for a text of `count` words."""
    lines, bullets, ended, start = 0, 0, 0, 0
    while start < len(data):
        end, following = line_end(data, start)
        a, b = strip(classes, data, start, end)
        lines += 1
        if a < b:
            bullets += data[a] == 45 or (b - a > 2 and data[a] == 0xE2 and data[a + 1] == 0x80 and data[a + 2] == 0xA2)
            ended += ellipsis_before(data, a, b)
        start = following
    hashes, ellipses, i = 0, 0, 0
    while i < len(data):
        c = data[i]
        if c == 35:
            hashes += 1
        elif (c == 46 or c == 0xE2) and ellipsis_before(data, i, min(i + 3, len(data))):
            ellipses += 1
            i += 2
        i += 1
    out[2] = max(hashes, ellipses) / max(count, 1)
    out[3] = bullets / max(lines, 1)
    out[4] = ended / max(lines, 1)


@inlined
def ellipsis_before(data: Bytes, a: int, b: int) -> bool:
    """Does `data[a:b]` end with `...` or `…`?"""
    if b - a < 3:
        return False
    if data[b - 1] == 46:
        return data[b - 2] == 46 and data[b - 3] == 46
    return data[b - 3] == 0xE2 and data[b - 2] == 0x80 and data[b - 1] == 0xA6
