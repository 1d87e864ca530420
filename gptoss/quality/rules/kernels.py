"""The rules over a batch of texts: one split into words serves the rules of Gopher, one those of C4 and FineWeb."""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss.quality.rules import c4, fineweb, gopher, repetition
from gptoss.quality.rules.affixes import Bytes, Int32s, Int64s, UInt32s
from gptoss.quality.rules.compiled import kernel
from gptoss.quality.rules.text_lines import characters, strip
from gptoss.quality.rules.words import describe, split

Floats = npt.NDArray[np.float64]
clean_text, measure_fineweb = c4.clean_text, fineweb.measure
measure_gopher_words, measure_gopher_lines = gopher.measure_words, gopher.measure_lines
measure_repeated_lines, measure_ngrams = repetition.measure_lines, repetition.measure_ngrams


@kernel
def longest(offsets: Int64s) -> int:
    """Bytes of the longest text, and two more: what the scratch space of one text needs."""
    most = 0
    for row in range(len(offsets) - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    return most + 2


@kernel
def measure_words(
    classes: UInt32s,
    known: Int64s,
    data: Bytes,
    offsets: Int64s,
    stops: Int64s,
    tops: Int64s,
    duplicates: Int64s,
    with_gopher: bool,
    with_repetition: bool,
    gopher_out: Floats,
    repetition_out: Floats,
) -> None:
    """Fill the measures of Gopher's two families, float64 [documents, measures], for the texts between `offsets`."""
    room = longest(offsets)
    spans, stack = np.empty((room, 2), dtype=np.int32), np.empty(room, dtype=np.int32)
    hashes, lengths = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int32)
    kinds = np.empty(room, dtype=np.uint32)
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        if with_repetition:
            measure_repeated_lines(classes, text, hashes, lengths, repetition_out[row])
        count = split(classes, known, text, 0, len(text), spans, stack)
        describe(classes, text, spans, count, hashes, lengths, kinds)
        if with_gopher:
            measure_gopher_words(hashes, lengths, kinds, count, stops, gopher_out[row])
            measure_gopher_lines(classes, text, count, gopher_out[row])
        if with_repetition:
            total = max(characters(text, 0, len(text)), 1)
            measure_ngrams(hashes, lengths, count, total, tops, duplicates, repetition_out[row])


@kernel
def clean_texts(
    classes: UInt32s,
    known: Int64s,
    data: Bytes,
    offsets: Int64s,
    wanted: npt.NDArray[np.bool_],
    phrases: Bytes,
    starts: Int32s,
    first: Bytes,
    switches: Int32s,
    out: Bytes,
    out_offsets: Int64s,
    words: Int64s,
    measured: Floats,
) -> None:
    """Apply C4's rules to the texts that are `wanted`: the texts that remain go to `out` and `out_offsets`, the words
    in them to `words`, and `c4.MEASURES` to `measured`; others become empty."""
    room = longest(offsets)
    spans, stack = np.empty((room, 2), dtype=np.int32), np.empty(room, dtype=np.int32)
    size = 0
    for row in range(len(offsets) - 1):
        out_offsets[row] = size
        if wanted[row]:
            text = data[offsets[row] : offsets[row + 1]]
            added, words[row] = clean_text(
                classes,
                known,
                text,
                phrases,
                starts,
                first,
                switches,
                spans,
                stack,
                out[size : size + len(text)],
                measured[row],
            )
            size += added
    out_offsets[len(offsets) - 1] = size


@kernel
def count_words(
    classes: UInt32s, known: Int64s, data: Bytes, offsets: Int64s, wanted: npt.NDArray[np.bool_], words: Int64s
) -> None:
    """Fill `words`, int64 [documents], for the texts that are `wanted`."""
    room = longest(offsets)
    spans, stack = np.empty((room, 2), dtype=np.int32), np.empty(room, dtype=np.int32)
    for row in range(len(offsets) - 1):
        if wanted[row]:
            text = data[offsets[row] : offsets[row + 1]]
            words[row] = split(classes, known, text, 0, len(text), spans, stack)


@kernel
def measure_lines(
    classes: UInt32s,
    data: Bytes,
    offsets: Int64s,
    wanted: npt.NDArray[np.bool_],
    words: Int64s,
    short: int,
    measured: Floats,
) -> None:
    """Fill FineWeb's measures, float64 [documents, measures], for the texts that are `wanted`."""
    room = longest(offsets)
    hashes, lengths = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int32)
    for row in range(len(offsets) - 1):
        if wanted[row]:
            text = data[offsets[row] : offsets[row + 1]]
            measure_fineweb(classes, text, words[row], short, hashes, lengths, measured[row])


@kernel
def find_empty(classes: UInt32s, data: Bytes, offsets: Int64s, empty: npt.NDArray[np.bool_]) -> None:
    """Mark, in bool [documents], the texts of white space alone."""
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        a, b = strip(classes, text, 0, len(text))
        empty[row] = a == b
