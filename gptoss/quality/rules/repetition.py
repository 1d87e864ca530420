"""Repetition rules of Gopher (Rae et al. 2021, table A1), with the published bounds in brackets.

- `max_duplicate_line_fraction` [0.3], `max_duplicate_paragraph_fraction` [0.3]: lines (cut at line feeds) and
  paragraphs (cut at two or more) that repeat an earlier one;
- `max_duplicate_line_characters` [0.2], `max_duplicate_paragraph_characters` [0.2]: characters in those, of all;
- `max_top_ngram_characters` [2: 0.20, 3: 0.18, 4: 0.16]: characters in all occurrences of the most frequent n-gram of
  words (joined by spaces; of equally frequent ones the first), of all;
- `max_duplicate_ngram_characters` [5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10]: characters in n-grams that
  occurred before, of all; n-grams that overlap a counted one do not count again.

Words are those of `words.py`. Decisions as `datatrove.pipeline.filters.GopherRepetitionFilter`.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss.config.curate import RepetitionConfig
from gptoss.quality.rules.affixes import Bytes, Int32s, Int64s, UInt32s
from gptoss.quality.rules.compiled import kernel, leaf
from gptoss.quality.rules.rule import Rule
from gptoss.quality.rules.text_lines import characters, pieces, repeated, strip

LINE_MEASURES = (
    "duplicate_line_fraction",
    "duplicate_paragraph_fraction",
    "duplicate_line_characters",
    "duplicate_paragraph_characters",
)


def measures(repetition: RepetitionConfig) -> tuple[str, ...]:
    """The names of the measures, in the order of the columns."""
    return (
        *LINE_MEASURES,
        *(f"top_{n}gram" for n, _ in repetition.max_top_ngram_characters),
        *(f"duplicate_{n}gram" for n, _ in repetition.max_duplicate_ngram_characters),
    )


def rules(repetition: RepetitionConfig) -> tuple[Rule, ...]:
    """The rules, in the order in which they are tried."""
    bounds = [
        *((f"max_{name}", getattr(repetition, f"max_{name}")) for name in LINE_MEASURES),
        *(("max_top_ngram_characters", bound) for _, bound in repetition.max_top_ngram_characters),
        *(("max_duplicate_ngram_characters", bound) for _, bound in repetition.max_duplicate_ngram_characters),
    ]
    names = measures(repetition)
    return tuple(Rule(f"repetition.{key}", name, ">", bound) for name, (key, bound) in zip(names, bounds, strict=True))


def columns(repetition: RepetitionConfig) -> tuple[Int64s, Int64s]:
    """For each n: the column of the most frequent n-gram's measure, and that of repeated n-grams; -1 for none."""
    tops = [n for n, _ in repetition.max_top_ngram_characters]
    duplicates = [n for n, _ in repetition.max_duplicate_ngram_characters]
    columns = np.full((2, max([*tops, *duplicates, 1]) + 1), -1, dtype=np.int64)
    columns[0, tops] = len(LINE_MEASURES) + np.arange(len(tops))
    columns[1, duplicates] = len(LINE_MEASURES) + len(tops) + np.arange(len(duplicates))
    return columns[0], columns[1]


@kernel
def measure_lines(classes: UInt32s, data: Bytes, hashes: Int64s, lengths: Int32s, out: npt.NDArray[np.float64]) -> None:
    """Fill `LINE_MEASURES` in `out`; `hashes` and `lengths` [at least len(data) + 1] are scratch."""
    total = max(characters(data, 0, len(data)), 1)
    count = pieces(data, 0, len(data), 1, hashes, lengths)
    number, repeated_characters = repeated(hashes, lengths, count)
    out[0], out[2] = number / count, repeated_characters / total
    a, b = strip(classes, data, 0, len(data))
    count = pieces(data, a, b, 2, hashes, lengths)
    number, repeated_characters = repeated(hashes, lengths, count)
    out[1], out[3] = number / count, repeated_characters / total


@kernel
def measure_ngrams(
    hashes: Int64s,
    lengths: Int32s,
    count: int,
    total: int,
    tops: Int64s,
    duplicates: Int64s,
    out: npt.NDArray[np.float64],
) -> None:
    """Fill the measures of n-grams in `out`, for the `count` words of a text of `total` characters.

    An n-gram can only repeat where its first n - 1 words do, so each n looks only at the places the one before left:
    `group[i]` is the first place with the same n-gram as i, `size[group[i]]` how many there are."""
    place = np.zeros(count + 1, dtype=np.int64)
    for k in range(count):
        place[k + 1] = place[k] + lengths[k]
    group, size = np.empty(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    active, left = np.arange(count), count
    slots = 8
    while slots < 2 * count:
        slots *= 2
    keys, first = np.empty(slots, dtype=np.int64), np.empty(slots, dtype=np.int32)
    for n in range(1, len(tops)):
        while left and active[left - 1] + n > count:
            left -= 1
        if n == 1 and tops[1] < 0 and duplicates[1] < 0:
            continue  # nearly every word repeats: pairs are found at once
        _group(hashes, active, left, n, group, size, keys, first)
        if tops[n] >= 0 and count >= n:
            out[tops[n]] = _top(active, left, group, size, place, n) / total
        if duplicates[n] >= 0:
            out[duplicates[n]] = _repeated(active, left, group, size, place, n) / total
        kept = 0
        for k in range(left):
            if size[group[active[k]]] > 1:
                active[kept] = active[k]
                kept += 1
        left = kept


@leaf
def _group(
    hashes: Int64s, active: Int64s, left: int, n: int, group: Int32s, size: Int32s, keys: Int64s, first: Int32s
) -> None:
    """Set `group` and `size` for the n-grams at the places `active[:left]`."""
    slots = 8
    while slots < 2 * left:
        slots *= 2
    first[:slots] = -1
    for k in range(left):
        i = active[k]
        key = hashes[i + n - 1]
        if n == 2:
            key ^= hashes[i] * np.int64(0x5851F42D4C957F2D)
        elif n > 2:
            key ^= (group[i] + 1) * np.int64(0x5851F42D4C957F2D)
        key ^= (key >> 31) & np.int64(0x1FFFFFFFF)
        key *= np.int64(0x2F58476D1CE4E5B9)
        slot = (key ^ ((key >> 32) & np.int64(0xFFFFFFFF))) & (slots - 1)
        while first[slot] >= 0 and keys[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if first[slot] < 0:
            first[slot], keys[slot] = i, key
            size[i] = 0
        group[i] = first[slot]
        size[first[slot]] += 1


@leaf
def _top(active: Int64s, left: int, group: Int32s, size: Int32s, place: Int64s, n: int) -> int:
    """Characters in the occurrences of the most frequent n-gram, with the spaces between its words."""
    best, most = 0, 1
    for k in range(left):
        i = active[k]
        if group[i] == i and size[i] > most:
            best, most = i, size[i]
    return (place[best + n] - place[best] + n - 1) * most


@leaf
def _repeated(active: Int64s, left: int, group: Int32s, size: Int32s, place: Int64s, n: int) -> int:
    """Characters in n-grams that occurred before, from left to right without overlaps; uses up the signs of `size`."""
    total, free = 0, 0
    for k in range(left):
        i = active[k]
        g = group[i]
        if i < free or abs(size[g]) < 2:
            continue
        if size[g] < 0:
            total += place[i + n] - place[i]
            free = i + n
        else:
            size[g] = -size[g]
    for k in range(left):
        size[group[active[k]]] = abs(size[group[active[k]]])
    return total
