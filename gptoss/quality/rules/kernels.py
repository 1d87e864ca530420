"""The rules over a batch of texts: one split into words serves both families of Gopher, another C4 and FineWeb.

    allocate scratch arrays for the longest text, once per batch
    for each text: call the kernels of `words.py` and of the families on data[offsets[row]:offsets[row + 1]]

In all of them, `data` is the UTF-8 of all texts, `offsets` int64 [texts + 1], and `kept` bool [texts]: the texts to
process.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import c4, fineweb, gopher, repetition
from gptoss.quality.rules.compiled import Bytes, Flags, Floats, Int32s, Int64s, UInt32s, kernel
from gptoss.quality.rules.text_lines import count_characters, strip
from gptoss.quality.rules.words import describe_words, split_words

UNKNOWN_WORDS = -1  # in an array of word counts: not counted yet


@kernel
def scratch_size(offsets: Int64s) -> int:
    """Entries of a scratch array for any of the texts: one per byte, and two more for empty pieces at both ends."""
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest + 2


@kernel
def measure_words(
    classes: UInt32s, exceptions: Int64s, data: Bytes, offsets: Int64s, stop_words: Int64s, top_columns: Int64s,
    duplicate_columns: Int64s, with_gopher: bool, with_repetition: bool, gopher_out: Floats, repetition_out: Floats,
) -> None:  # fmt: skip
    """Fill the measures of Gopher's two families, float64 [texts, measures]."""
    size = scratch_size(offsets)
    spans, stack = np.empty((size, 2), dtype=np.int32), np.empty(size, dtype=np.int32)
    hashes, lengths = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int32)
    kinds = np.empty(size, dtype=np.uint32)
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        if with_repetition:
            repetition.measure_lines(classes, text, hashes, lengths, repetition_out[row])
        count = split_words(classes, exceptions, text, 0, len(text), spans, stack)
        describe_words(classes, text, spans, count, hashes, lengths, kinds)
        if with_gopher:
            gopher.measure_words(hashes, lengths, kinds, count, stop_words, gopher_out[row])
            gopher.measure_lines(classes, text, count, gopher_out[row])
        if with_repetition:
            total = max(count_characters(text, 0, len(text)), 1)
            repetition.measure_ngrams(
                hashes, lengths, count, total, top_columns, duplicate_columns, repetition_out[row]
            )


@kernel
def clean_texts(
    classes: UInt32s, exceptions: Int64s, data: Bytes, offsets: Int64s, kept: Flags, phrases: Bytes, starts: Int32s,
    is_first: Bytes, settings: Int32s, out: Bytes, out_offsets: Int64s, words: Int64s, measures: Floats,
) -> None:  # fmt: skip
    """Apply C4's rules: what remains of the texts goes to `out` and `out_offsets`, its number of words to `words`,
    `c4.MEASURES` to `measures`. Texts that are not `kept` become empty."""
    size = scratch_size(offsets)
    spans, stack = np.empty((size, 2), dtype=np.int32), np.empty(size, dtype=np.int32)
    end = 0
    for row in range(len(offsets) - 1):
        out_offsets[row] = end
        if kept[row]:
            text = data[offsets[row] : offsets[row + 1]]
            added, words[row] = c4.clean_text(
                classes, exceptions, text, phrases, starts, is_first, settings, spans, stack,
                out[end : end + len(text)], measures[row],
            )  # fmt: skip
            end += added
    out_offsets[len(offsets) - 1] = end


@kernel
def measure_lines(
    classes: UInt32s, exceptions: Int64s, data: Bytes, offsets: Int64s, kept: Flags, words: Int64s, short_length: int,
    measures: Floats,
) -> None:  # fmt: skip
    """Fill FineWeb's measures, float64 [texts, measures]. Where `words` has no count, the words are split here."""
    size = scratch_size(offsets)
    spans, stack = np.empty((size, 2), dtype=np.int32), np.empty(size, dtype=np.int32)
    hashes, lengths = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int32)
    for row in range(len(offsets) - 1):
        if kept[row]:
            text = data[offsets[row] : offsets[row + 1]]
            count = words[row]
            if count == UNKNOWN_WORDS:
                count = split_words(classes, exceptions, text, 0, len(text), spans, stack)
            fineweb.measure(classes, text, count, short_length, hashes, lengths, measures[row])


@kernel
def find_empty(classes: UInt32s, data: Bytes, offsets: Int64s, empty: Flags) -> None:
    """Mark the texts of white space only, bool [texts]."""
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        start, end = strip(classes, text, 0, len(text))
        empty[row] = start == end
