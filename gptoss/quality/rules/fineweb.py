"""Rules FineWeb adds (Penedo et al. 2024, section 3.6), with the published bounds in brackets.

- `min_terminal_punctuation_lines` [0.12]: lines that end in a mark that ends sentences;
- `max_short_line_fraction` [0.67]: lines of at most `short_line_length` [30] characters;
- `max_duplicate_line_characters` [0.01]: characters in lines that repeat an earlier one, of all but line feeds;
- `max_newline_to_word_ratio` [0.3]: line feeds a word.

Lines are cut at line feeds, white space around them included, and those of white space alone do not count; words are
those of `words.py`. Decisions as `datatrove.pipeline.filters.FineWebQualityFilter`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss.config.curate import FineWebConfig
from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import Bytes, Int32s, Int64s, UInt32s, class_before, word_hash
from gptoss.quality.rules.compiled import kernel
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import characters, repeated, strip

MEASURES = (
    "terminal_punctuation_line_fraction",
    "short_line_fraction",
    "repeated_line_characters",
    "newline_to_word_ratio",
)
TERMINAL = ch.TERMINAL


def rules(fineweb: FineWebConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are tried."""
    return (
        Rule(
            "fineweb.min_terminal_punctuation_lines",
            "terminal_punctuation_line_fraction",
            "<",
            fineweb.min_terminal_punctuation_lines,
        ),
        Rule("fineweb.max_short_line_fraction", "short_line_fraction", ">", fineweb.max_short_line_fraction),
        Rule(
            "fineweb.max_duplicate_line_characters",
            "repeated_line_characters",
            ">",
            fineweb.max_duplicate_line_characters,
        ),
        Rule("fineweb.max_newline_to_word_ratio", "newline_to_word_ratio", ">", fineweb.max_newline_to_word_ratio),
    )


@kernel
def measure(
    classes: UInt32s, data: Bytes, words: int, short: int, hashes: Int64s, lengths: Int32s, out: npt.NDArray[np.float64]
) -> None:
    """Fill `MEASURES` in `out` for a text of `words` words; `hashes` and `lengths` [at least len(data) + 1] are
    scratch."""
    lines, ended, short_lines, start, feeds, total = 0, 0, 0, 0, 0, 0
    while start <= len(data):
        end = start
        while end < len(data) and data[end] != 10:
            end += 1
        feeds += end < len(data)
        length = characters(data, start, end)
        total += length
        a, b = strip(classes, data, start, end)
        if a < b:
            hashes[lines], lengths[lines] = word_hash(data, start, end), length
            lines += 1
            ended += (class_before(classes, data, start, end) & TERMINAL) != 0
            short_lines += length <= short
        start = end + 1
    out[0] = ended / max(lines, 1)
    out[1] = short_lines / max(lines, 1)
    out[2] = repeated(hashes, lengths, lines)[1] / max(total, 1)
    out[3] = feeds / max(words, 1)
