"""Repetition rules of Gopher (Rae et al. 2021, table A1), with the published bounds in brackets.

- `max_duplicate_line_fraction` [0.3], `max_duplicate_paragraph_fraction` [0.3]: lines (cut at line feeds) and
  paragraphs (cut at two or more) that repeat an earlier one;
- `max_duplicate_line_characters` [0.2], `max_duplicate_paragraph_characters` [0.2]: characters in those, of all;
- `max_top_ngram_characters` [2: 0.20, 3: 0.18, 4: 0.16]: characters in all occurrences of the most frequent n-gram of
  words (joined by spaces; of equally frequent ones the first), of all;
- `max_duplicate_ngram_characters` [5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10]: characters in n-grams that
  occurred before, of all; n-grams that overlap a counted one do not count again.

Words are those of `words.py`.

    active = all positions
    for n = 1, 2, ...:  group the active positions by n-gram (its first n - 1 words are one group: hash two numbers)
                        measure the groups; active = positions whose n-gram occurs more than once

References: the decisions are those of `datatrove.pipeline.filters.GopherRepetitionFilter`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.config.curate import RepetitionConfig
from gptoss.quality.rules.compiled import Bytes, Floats, Int32s, Int64s, UInt32s, kernel, leaf
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import count_characters, count_repeated, split_pieces, strip, table_slots

LINE_MEASURES = (
    "duplicate_line_fraction", "duplicate_paragraph_fraction", "duplicate_line_characters",
    "duplicate_paragraph_characters",
)  # fmt: skip
LINES, PARAGRAPHS, LINE_CHARACTERS, PARAGRAPH_CHARACTERS = range(len(LINE_MEASURES))
LINE_BREAKS, PARAGRAPH_BREAKS = 1, 2  # line feeds that separate lines and paragraphs
# Odd multipliers (Knuth's MMIX; SplitMix64's, changed to fit a signed integer) spread (group, word) over 64 bits.
GROUP_MULTIPLIER, MIX_MULTIPLIER = np.int64(0x5851F42D4C957F2D), np.int64(0x2F58476D1CE4E5B9)
MIX_SHIFT, MIX_MASK = 31, np.int64(0x1FFFFFFFF)  # the masks make signed shifts logical ones
HALF_SHIFT, HALF_MASK = 32, np.int64(0xFFFFFFFF)


def measures(config: RepetitionConfig) -> tuple[str, ...]:
    """The names of the measures, in the order of the columns."""
    return (
        *LINE_MEASURES,
        *(f"top_{n}gram" for n, _ in config.max_top_ngram_characters),
        *(f"duplicate_{n}gram" for n, _ in config.max_duplicate_ngram_characters),
    )


def rules(config: RepetitionConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are tried."""
    bounds = [
        *((f"max_{name}", getattr(config, f"max_{name}")) for name in LINE_MEASURES),
        *(("max_top_ngram_characters", bound) for _, bound in config.max_top_ngram_characters),
        *(("max_duplicate_ngram_characters", bound) for _, bound in config.max_duplicate_ngram_characters),
    ]
    return tuple(
        Rule("repetition", key, name, bound) for name, (key, bound) in zip(measures(config), bounds, strict=True)
    )


def ngram_columns(config: RepetitionConfig) -> tuple[Int64s, Int64s]:
    """The columns, by n, of the most frequent n-gram's measure and of the repeated n-grams' measure; -1 for none."""
    tops = [n for n, _ in config.max_top_ngram_characters]
    duplicates = [n for n, _ in config.max_duplicate_ngram_characters]
    columns = np.full((2, max([*tops, *duplicates, 1]) + 1), -1, dtype=np.int64)
    columns[0, tops] = len(LINE_MEASURES) + np.arange(len(tops))
    columns[1, duplicates] = len(LINE_MEASURES) + len(tops) + np.arange(len(duplicates))
    return columns[0], columns[1]


@kernel
def measure_lines(classes: UInt32s, data: Bytes, hashes: Int64s, lengths: Int32s, out: Floats) -> None:
    """Fill `LINE_MEASURES` in `out`; `hashes` and `lengths` [at least len(data) + 1] are scratch."""
    total = max(count_characters(data, 0, len(data)), 1)
    count = split_pieces(data, 0, len(data), LINE_BREAKS, hashes, lengths)
    repeated, characters = count_repeated(hashes, lengths, count)
    out[LINES], out[LINE_CHARACTERS] = repeated / count, characters / total
    start, end = strip(classes, data, 0, len(data))  # datatrove strips the text before it cuts paragraphs, only there
    count = split_pieces(data, start, end, PARAGRAPH_BREAKS, hashes, lengths)
    repeated, characters = count_repeated(hashes, lengths, count)
    out[PARAGRAPHS], out[PARAGRAPH_CHARACTERS] = repeated / count, characters / total


@kernel
def measure_ngrams(
    hashes: Int64s, lengths: Int32s, count: int, total: int, top_columns: Int64s, duplicate_columns: Int64s, out: Floats
) -> None:
    """Fill the measures of n-grams in `out`, for the `count` words of a text of `total` characters.

    An n-gram can only repeat where its first n - 1 words do, so each n examines only the positions that the one before
    left: `group[i]` is the first position with the same n-gram as i, `size[group[i]]` the number of such positions."""
    offset = np.zeros(count + 1, dtype=np.int64)  # of each word, in characters without spaces
    for word in range(count):
        offset[word + 1] = offset[word] + lengths[word]
    group, size = np.empty(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    active, left = np.arange(count), count
    slots = table_slots(count)
    keys, first = np.empty(slots, dtype=np.int64), np.empty(slots, dtype=np.int32)
    for n in range(1, len(top_columns)):
        while left and active[left - 1] + n > count:
            left -= 1
        if n == 1 and top_columns[1] < 0 and duplicate_columns[1] < 0:
            continue  # nearly every word repeats: grouping single words would leave nearly all positions active
        _group_ngrams(hashes, active, left, n, group, size, keys, first)
        if top_columns[n] >= 0 and count >= n:
            out[top_columns[n]] = _top_characters(active, left, group, size, offset, n) / total
        if duplicate_columns[n] >= 0:
            out[duplicate_columns[n]] = _repeated_characters(active, left, group, size, offset, n) / total
        remaining = 0
        for k in range(left):
            if size[group[active[k]]] > 1:
                active[remaining] = active[k]
                remaining += 1
        left = remaining


@leaf
def _group_ngrams(
    hashes: Int64s, active: Int64s, left: int, n: int, group: Int32s, size: Int32s, keys: Int64s, first: Int32s
) -> None:
    """Set `group` and `size` for the n-grams at the positions `active[:left]`; `keys` and `first` are a hash table."""
    slots = table_slots(left)
    first[:slots] = -1
    for k in range(left):
        i = active[k]
        key = hashes[i + n - 1]
        if n == 2:
            key ^= hashes[i] * GROUP_MULTIPLIER  # n = 1 set no groups
        elif n > 2:
            key ^= (group[i] + 1) * GROUP_MULTIPLIER
        key ^= (key >> MIX_SHIFT) & MIX_MASK
        key *= MIX_MULTIPLIER
        slot = (key ^ ((key >> HALF_SHIFT) & HALF_MASK)) & (slots - 1)
        while first[slot] >= 0 and keys[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if first[slot] < 0:
            first[slot], keys[slot] = i, key
            size[i] = 0
        group[i] = first[slot]
        size[first[slot]] += 1


@leaf
def _top_characters(active: Int64s, left: int, group: Int32s, size: Int32s, offset: Int64s, n: int) -> int:
    """Characters in the occurrences of the most frequent n-gram, with the spaces between its words."""
    best, most = 0, 1
    for k in range(left):
        i = active[k]
        if group[i] == i and size[i] > most:
            best, most = i, size[i]
    return (offset[best + n] - offset[best] + n - 1) * most


@leaf
def _repeated_characters(active: Int64s, left: int, group: Int32s, size: Int32s, offset: Int64s, n: int) -> int:
    """Characters in n-grams that occurred before, from left to right without overlaps and without spaces."""
    total, free = 0, 0  # free: the first position that no counted n-gram covers
    for k in range(left):
        i = active[k]
        g = group[i]
        if i < free or abs(size[g]) < 2:
            continue
        if size[g] < 0:
            total += offset[i + n] - offset[i]
            free = i + n
        else:
            size[g] = -size[g]  # a negative size marks a group that occurred: no second array is needed
    for k in range(left):
        size[group[active[k]]] = abs(size[group[active[k]]])
    return total
