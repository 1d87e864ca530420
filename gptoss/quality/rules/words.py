"""Split text into words as spaCy's English tokenizer does, at the speed of a scan over its bytes.

The published thresholds of the quality rules were tuned on such words, where punctuation marks are words of their own:
a split at white space measures other values. The definition, for a run of characters without white space:
1. If it is one of `exceptions.pieces()` it is those pieces.
2. Otherwise a prefix and a suffix are split off, again and again, until neither is found or what remains is such an
   exception. Prefixes: a mark of `characters.PREFIX`, two or more full stops, `+` not before a digit, `US$ C$ A$`.
   Suffixes: a mark of `characters.SUFFIX`, `'s 'S ’s ’S`, two or more full stops, one full stop after
   `characters.BEFORE_DOT` or after two capitals, and after a digit `+`, a currency sign or one of `UNITS`.
3. What remains is one word if it looks like an address (`addresses.is_address`). Otherwise it is split around two or
   more full stops, `…`, symbols (`characters.ICON`); `+ - * ^` between a digit and a digit or hyphen; a full stop
   between a lower case letter or quote and an upper case letter or quote; a comma between letters; hyphens, dashes and
   tildes (`- -- --- – — —— ~`) between a letter or digit and a letter; `: < > = /` between a letter or digit and a
   letter.
4. Neighbouring pieces that together are an exception of one piece (`:)`, `a.`) are joined, and a piece that is an
   exception of several (`don't` in `if-don't`) is split.
Method: `spacy.tokenizer`, `spacy.lang.punctuation` and `spacy.lang.en.punctuation` (MIT). Left out: units that are not
ASCII, and exceptions across pieces that overlap.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import (  # fmt: skip
    Bytes,
    Int32s,
    Int64s,
    Spans,
    UInt32s,
    class_at,
    class_before,
    decode,
    exception,
    prefix,
    suffix,
    word_hash,
)
from gptoss.quality.rules.compiled import inlined, leaf
from gptoss.quality.rules.web_addresses import is_address

SPACE, ALPHABETIC, LOWER, UPPER, DIGIT = ch.SPACE, ch.ALPHABETIC, ch.LOWER, ch.UPPER, ch.DIGIT
QUOTE, ICON, NOT_PLAIN, TERMINAL, NOT_PUNCTUATION = ch.QUOTE, ch.ICON, ch.NOT_PLAIN, ch.TERMINAL, ch.NOT_PUNCTUATION


@leaf
def split(classes: UInt32s, known: Int64s, data: Bytes, start: int, end: int, spans: Spans, stack: Int32s) -> int:
    """Write the words of `data[start:end]` to `spans`, int32 [at least end - start, 2] (first byte, byte after the
    last), and return how many. `stack`, int32 [at least end - start], is scratch."""
    count, i = 0, start
    while i < end:
        a, union, width = i, np.int64(0), 1
        while i < end:
            b = data[i]
            if b < 0x80:
                kind, width = np.int64(classes[b]), 1
            else:
                code, width = decode(data, i, end)
                kind = np.int64(classes[code])
            if kind & SPACE:
                break
            union |= kind
            i += width
        if i > a:
            if union & NOT_PLAIN or union & (ALPHABETIC | DIGIT) == (ALPHABETIC | DIGIT):
                first = count
                count = _split_run(classes, known, data, a, i, spans, count, stack)
                if count > first + 1:
                    count = _joined(classes, known, data, spans, first, count)
            else:
                count = _whole(classes, known, data, a, i, spans, count)
        i += width
    return count


@inlined
def _split_run(
    classes: UInt32s, known: Int64s, data: Bytes, a: int, b: int, spans: Spans, count: int, stack: Int32s
) -> int:
    """Append the words of a run without white space."""
    top = 0
    while a < b and not exception(known, data, a, b):
        p = prefix(classes, data, a, b)
        if p and a + p < b and exception(known, data, a + p, b):
            count = _append(spans, count, a, a + p)
            a += p
            break
        s = suffix(classes, data, a + p, b)
        if s and b - s > a and exception(known, data, a, b - s):
            stack[top] = b
            top += 1
            b -= s
            break
        if not p and not s:
            break
        if p:
            count = _append(spans, count, a, a + p)
            a += p
        if s and b - s >= a:
            stack[top] = b
            top += 1
            b -= s
    if a < b:
        count = _core(classes, known, data, a, b, spans, count)
    while top:
        top -= 1
        count = _append(spans, count, b, stack[top])
        b = stack[top]
    return count


@inlined
def _append(spans: Spans, count: int, a: int, b: int) -> int:
    spans[count, 0], spans[count, 1] = a, b
    return count + 1


@inlined
def _whole(classes: UInt32s, known: Int64s, data: Bytes, a: int, b: int, spans: Spans, count: int) -> int:
    """Append `data[a:b]`, or its pieces if it is an exception."""
    packed = exception(known, data, a, b)
    while packed:
        count = _append(spans, count, a, a + (packed & 0xFF))
        a += packed & 0xFF
        packed >>= 8
    return _append(spans, count, a, b) if a < b else count


@leaf
def _core(classes: UInt32s, known: Int64s, data: Bytes, a: int, b: int, spans: Spans, count: int) -> int:
    """Append what remains of a run without its prefixes and suffixes."""
    if exception(known, data, a, b) or is_address(classes, data, a, b):
        return _whole(classes, known, data, a, b, spans, count)
    start = i = a
    while i < b:
        c = data[i]
        if c < 0x80 and not classes[c] & NOT_PLAIN:
            i += 1
            continue
        size = _infix(classes, data, a, i, b)
        if size and i > a:
            if i > start:
                count = _whole(classes, known, data, start, i, spans, count)
            count = _append(spans, count, i, i + size)
            start = i + size
        i += size if size else decode(data, i, b)[1]
    return _whole(classes, known, data, start, b, spans, count) if start < b else count


@inlined
def _infix(classes: UInt32s, data: Bytes, a: int, i: int, b: int) -> int:
    """Bytes of the separator at `i` within the word `data[a:b]`; 0 if there is none."""
    c = data[i]
    if c >= 0x80:
        code, width = decode(data, i, b)
        if code == 0x2026 or classes[code] & ICON:
            return width
        if code == 0x2013 or code == 0x2014:
            return _dash(classes, data, a, i, b)
        return 0
    if c == 46:
        return _full_stops(classes, data, a, i, b)
    if c == 45 or c == 126:  # - ~
        if c == 45 and _between_digits(data, a, i, b):
            return 1
        return _dash(classes, data, a, i, b)
    if c == 43 or c == 42 or c == 94:  # + * ^
        return 1 if _between_digits(data, a, i, b) else 0
    if c == 44:
        return 1 if class_before(classes, data, a, i) & class_at(classes, data, i + 1, b) & ALPHABETIC else 0
    if c == 58 or 60 <= c <= 62 or c == 47:  # : < = > /
        letter = class_at(classes, data, i + 1, b) & ALPHABETIC
        return 1 if letter and class_before(classes, data, a, i) & (ALPHABETIC | DIGIT) else 0
    return 0


@inlined
def _between_digits(data: Bytes, a: int, i: int, b: int) -> bool:
    return i > a and 48 <= data[i - 1] <= 57 and i + 1 < b and (48 <= data[i + 1] <= 57 or data[i + 1] == 45)


@inlined
def _full_stops(classes: UInt32s, data: Bytes, a: int, i: int, b: int) -> int:
    size = 1
    while i + size < b and data[i + size] == 46:
        size += 1
    if size > 1:
        return size
    return (
        1
        if class_before(classes, data, a, i) & (LOWER | QUOTE) and class_at(classes, data, i + 1, b) & (UPPER | QUOTE)
        else 0
    )


@inlined
def _dash(classes: UInt32s, data: Bytes, a: int, i: int, b: int) -> int:
    """Bytes of one to three hyphens, one or two em dashes, an en dash or a tilde between a letter or digit and a
    letter."""
    if not class_before(classes, data, a, i) & (ALPHABETIC | DIGIT):
        return 0
    c, width = decode(data, i, b)
    most = 3 if c == 45 else (2 if c == 0x2014 else 1)
    size = width
    while most > 1 and i + size < b and decode(data, i + size, b)[0] == c:
        size += width
        most -= 1
    return size if class_at(classes, data, i + size, b) & ALPHABETIC else 0


@leaf
def _joined(classes: UInt32s, known: Int64s, data: Bytes, spans: Spans, first: int, count: int) -> int:
    """Join neighbouring words from `first` on that together are an exception of one piece."""
    kept = i = first
    while i < count:
        a, b, last = spans[i, 0], spans[i, 1], i
        if known[data[a]]:
            for j in range(min(count - 1, i + 4), i, -1):
                packed = exception(known, data, a, spans[j, 1])
                if packed:
                    last = j
                    if packed == spans[j, 1] - a:
                        i, b = j, spans[j, 1]
                    break
        spans[kept, 0], spans[kept, 1] = a, b
        kept += 1
        for k in range(i + 1, last + 1):  # an exception of several pieces: its pieces stay as they are
            spans[kept, 0], spans[kept, 1] = spans[k, 0], spans[k, 1]
            kept += 1
        i = last + 1
    return kept


@leaf
def describe(
    classes: UInt32s, data: Bytes, spans: Spans, count: int, hashes: Int64s, lengths: Int32s, kinds: UInt32s
) -> None:
    """Fill, for each word: its hash, its length in characters, and the union of the bit sets of its characters."""
    for k in range(count):
        i, b = spans[k, 0], spans[k, 1]
        hashes[k] = word_hash(data, i, b)
        union, length = np.int64(0), 0
        while i < b:
            code, width = decode(data, i, b)
            union |= np.int64(classes[code])
            i += width
            length += 1
        lengths[k], kinds[k] = length, union


@leaf
def sentences(classes: UInt32s, data: Bytes, start: int, spans: Spans, count: int) -> int:
    """How many sentences the words make, at least 1: a sentence ends after a mark of `characters.TERMINAL` that is a
    word, and the marks after it; text starts at `start` (`spacy.pipeline.Sentencizer`)."""
    number, ended, position = 1, False, start
    for k in range(count):
        a, b = spans[k, 0], spans[k, 1]
        gap = a - position
        if ended and (gap > 1 or (gap == 1 and data[position] != 32)):
            number, ended = number + 1, False  # more than a space is a word of its own
        kind, width = class_at(classes, data, a, b), decode(data, a, b)[1]
        if kind & TERMINAL and width == b - a:
            ended = True
        elif ended and _not_punctuation(classes, data, a, b):
            number, ended = number + 1, False
        position = b
    return number


@inlined
def _not_punctuation(classes: UInt32s, data: Bytes, a: int, b: int) -> bool:
    while a < b:
        code, width = decode(data, a, b)
        if classes[code] & NOT_PUNCTUATION:
            return True
        a += width
    return False
