"""Rules added by FineWeb (Penedo et al. 2024, section 3.6), with the published bounds in brackets.

- `min_terminal_punctuation_lines` [0.12]: lines that end in a mark that ends sentences;
- `max_short_line_fraction` [0.67]: lines of at most `short_line_length` [30] characters;
- `max_duplicate_line_characters` [0.01]: characters in lines that repeat an earlier one, of all except line feeds;
- `max_newline_to_word_ratio` [0.3]: line feeds per word.

Lines are cut at line feeds and include the white space around them; those of white space only do not count. Words are
those of `words.py`.

    for each line: count it, its length, whether it ends a sentence, whether it is short; hash it
    out = fractions of the lines, characters of repeated hashes / characters, line feeds / words

References: the decisions are those of `datatrove.pipeline.filters.FineWebQualityFilter`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

from gptoss.config.curate import FineWebConfig
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import class_before, word_hash
from gptoss.quality.rules.compiled import Bytes, Floats, Int32s, Int64s, UInt32s, kernel
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import count_characters, count_repeated, strip

# Measures and keys, in the order in which the rules are tried. `repeated_line_characters` excludes line feeds, unlike
# `duplicate_line_characters` of `repetition.py`.
MEASURES = (
    "terminal_punctuation_line_fraction", "short_line_fraction", "repeated_line_characters", "newline_to_word_ratio",
)  # fmt: skip
KEYS = (
    "min_terminal_punctuation_lines", "max_short_line_fraction", "max_duplicate_line_characters",
    "max_newline_to_word_ratio",
)  # fmt: skip
TERMINAL_LINES, SHORT_LINES, REPEATED_CHARACTERS, NEWLINES = range(len(MEASURES))


def rules(config: FineWebConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are tried."""
    return tuple(
        Rule("fineweb", key, measure, getattr(config, key)) for key, measure in zip(KEYS, MEASURES, strict=True)
    )


@kernel
def measure(
    classes: UInt32s, data: Bytes, words: int, short_length: int, hashes: Int64s, lengths: Int32s, out: Floats
) -> None:
    """Fill `MEASURES` in `out` for a text of `words` words; `hashes` and `lengths` [at least len(data) + 1] are
    scratch."""
    lines, terminal, short, start, line_feeds, total = 0, 0, 0, 0, 0, 0
    while start <= len(data):
        end = start
        while end < len(data) and data[end] != utf8.LINE_FEED:
            end += 1
        line_feeds += end < len(data)
        length = count_characters(data, start, end)
        total += length
        first, last = strip(classes, data, start, end)
        if first < last:
            hashes[lines], lengths[lines] = word_hash(data, start, end), length
            lines += 1
            terminal += (class_before(classes, data, start, end) & ch.TERMINAL) != 0
            short += length <= short_length
        start = end + 1
    out[TERMINAL_LINES] = terminal / max(lines, 1)
    out[SHORT_LINES] = short / max(lines, 1)
    out[REPEATED_CHARACTERS] = count_repeated(hashes, lengths, lines)[1] / max(total, 1)
    out[NEWLINES] = line_feeds / max(words, 1)
