"""Split text into words as spaCy's English tokenizer does, at the speed of a scan over its bytes.

The published thresholds of the quality rules were tuned on such words, in which punctuation marks are words of their
own: words between white space have other counts and lengths, and the same bounds would remove other documents. spaCy
itself takes most of the time of datatrove's filters, so its rules are compiled here.

    for each run of characters without white space:
        plain run (letters only, or digits only): one word, or the pieces of an exception
        other run: split off prefixes and suffixes, split the rest at infixes, rejoin exceptions

The definition, for a run:
1. If it is one of `tokenizer_exceptions.tokenizer_exceptions()`, it is those pieces.
2. Otherwise a prefix and a suffix are split off repeatedly, until neither is found or the rest is such an exception.
   Prefixes: a mark of `characters.PREFIX`, two or more full stops, `+` not before a digit, `US$ C$ A$`.
   Suffixes: a mark of `characters.SUFFIX`, `'s 'S ’s ’S`, two or more full stops, one full stop after
   `characters.BEFORE_DOT` or after two capitals, and after a digit `+`, a currency sign or one of `UNITS`.
3. The rest is one word if it looks like an address (`web_addresses.is_address`). Otherwise it is split around two or
   more full stops, `…`, symbols (`characters.ICON`); `+ - * ^` between a digit and a digit or hyphen; a full stop
   between a lower case letter or quote and an upper case letter or quote; a comma between letters; hyphens, dashes and
   tildes (`- -- --- – — —— ~`) between a letter or digit and a letter; `: < > = /` between a letter or digit and a
   letter.
4. Adjacent pieces that together are an exception of one piece (`:)`, `a.`) are joined, and a piece that is an exception
   of several (`don't` in `if-don't`) is split.

Not implemented: units that are not ASCII, and exceptions across pieces that overlap.

References: `spacy.tokenizer`, `spacy.lang.punctuation`, `spacy.lang.en.punctuation`, `spacy.pipeline.Sentencizer`
(MIT).
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Integers are those of the compiled code: neither Python's nor NumPy's.
from __future__ import annotations

import numpy as np

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules import utf8
from gptoss.quality.rules.affixes import (
    PIECE_BITS,
    PIECE_MASK,
    class_at,
    class_before,
    decode,
    exception_pieces,
    full_stops,
    is_digit,
    prefix_size,
    suffix_size,
    word_hash,
)  # fmt: skip
from gptoss.quality.rules.compiled import Bytes, Int32s, Int64s, UInt32s, inlined, leaf
from gptoss.quality.rules.web_addresses import is_address

ELLIPSIS, EN_DASH, EM_DASH = 0x2026, 0x2013, 0x2014
MOST_HYPHENS, MOST_EM_DASHES = 3, 2
LONGEST_JOIN = 4  # following pieces that are tried; longer emoticons are recognised only as a whole run


@leaf
def split_words(
    classes: UInt32s, exceptions: Int64s, data: Bytes, start: int, end: int, spans: Int32s, stack: Int32s
) -> int:
    """Write the words of `data[start:end]` to `spans`, int32 [at least end - start, 2] (first byte, byte after the
    last), and return their number. `stack`, int32 [at least end - start], is scratch."""
    count, at = 0, start
    while at < end:
        run, union, width = at, np.int64(0), 1
        while at < end:
            byte = data[at]
            if byte < utf8.FIRST_NON_ASCII:
                kind, width = np.int64(classes[byte]), 1
            else:
                code, width = decode(data, at, end)
                kind = np.int64(classes[code])
            if kind & ch.SPACE:
                break
            union |= kind
            at += width
        if at > run:
            # Letters together with digits are not plain either: units are split off numbers ("10km").
            if union & ch.NOT_PLAIN or union & (ch.ALPHABETIC | ch.DIGIT) == (ch.ALPHABETIC | ch.DIGIT):
                first = count
                count = _split_run(classes, exceptions, data, run, at, spans, count, stack)
                if count > first + 1:
                    count = _join_exceptions(exceptions, data, spans, first, count)
            else:
                count = _append_pieces(exceptions, data, run, at, spans, count)
        at += width
    return count


@inlined
def _split_run(
    classes: UInt32s, exceptions: Int64s, data: Bytes, start: int, end: int, spans: Int32s, count: int, stack: Int32s
) -> int:
    """Append the words of a run without white space."""
    depth = 0  # suffixes are found from the outside in, and appended from the inside out
    while start < end and not exception_pieces(exceptions, data, start, end):
        prefix = prefix_size(classes, data, start, end)
        if prefix and start + prefix < end and exception_pieces(exceptions, data, start + prefix, end):
            count = _append(spans, count, start, start + prefix)
            start += prefix
            break
        suffix = suffix_size(classes, data, start + prefix, end)
        if suffix and end - suffix > start and exception_pieces(exceptions, data, start, end - suffix):
            stack[depth] = end
            depth += 1
            end -= suffix
            break
        if not prefix and not suffix:
            break
        if prefix:
            count = _append(spans, count, start, start + prefix)
            start += prefix
        if suffix and end - suffix >= start:
            stack[depth] = end
            depth += 1
            end -= suffix
    if start < end:
        count = _split_core(classes, exceptions, data, start, end, spans, count)
    while depth:
        depth -= 1
        count = _append(spans, count, end, stack[depth])
        end = stack[depth]
    return count


@inlined
def _append(spans: Int32s, count: int, start: int, end: int) -> int:
    spans[count, 0], spans[count, 1] = start, end
    return count + 1


@inlined
def _append_pieces(exceptions: Int64s, data: Bytes, start: int, end: int, spans: Int32s, count: int) -> int:
    """Append `data[start:end]`, or its pieces if it is an exception."""
    packed = exception_pieces(exceptions, data, start, end)
    while packed:
        count = _append(spans, count, start, start + (packed & PIECE_MASK))
        start += packed & PIECE_MASK
        packed >>= PIECE_BITS
    return _append(spans, count, start, end) if start < end else count


@leaf
def _split_core(
    classes: UInt32s, exceptions: Int64s, data: Bytes, start: int, end: int, spans: Int32s, count: int
) -> int:
    """Append what remains of a run without its prefixes and suffixes."""
    if exception_pieces(exceptions, data, start, end) or is_address(classes, data, start, end):
        return _append_pieces(exceptions, data, start, end, spans, count)
    piece = at = start
    while at < end:
        byte = data[at]
        if byte < utf8.FIRST_NON_ASCII and not classes[byte] & ch.NOT_PLAIN:
            at += 1
            continue
        size = _infix_size(classes, data, start, at, end)
        if size and at > start:
            if at > piece:
                count = _append_pieces(exceptions, data, piece, at, spans, count)
            count = _append(spans, count, at, at + size)
            piece = at + size
        at += size if size else decode(data, at, end)[1]
    return _append_pieces(exceptions, data, piece, end, spans, count) if piece < end else count


@inlined
def _infix_size(classes: UInt32s, data: Bytes, start: int, at: int, end: int) -> int:
    """Bytes of the separator at `at` within the word `data[start:end]`; 0 if there is none."""
    byte = data[at]
    if byte >= utf8.FIRST_NON_ASCII:
        code, width = decode(data, at, end)
        if code == ELLIPSIS or classes[code] & ch.ICON:
            return width
        return _dash_size(classes, data, start, at, end) if code in (EN_DASH, EM_DASH) else 0
    if byte == utf8.FULL_STOP:
        size = full_stops(data, at, end)
        return size if size > 1 or _ends_sentence(classes, data, start, at, end) else 0
    if byte == utf8.HYPHEN or byte == utf8.TILDE:
        if byte == utf8.HYPHEN and _between_digits(data, start, at, end):
            return 1
        return _dash_size(classes, data, start, at, end)
    if byte == utf8.PLUS or byte == utf8.ASTERISK or byte == utf8.CARET:
        return 1 if _between_digits(data, start, at, end) else 0
    if byte == utf8.COMMA:
        return 1 if class_before(classes, data, start, at) & class_at(classes, data, at + 1, end) & ch.ALPHABETIC else 0
    if byte == utf8.COLON or utf8.LESS_THAN <= byte <= utf8.GREATER_THAN or byte == utf8.SLASH:  # includes `=`
        letter = class_at(classes, data, at + 1, end) & ch.ALPHABETIC
        return 1 if letter and class_before(classes, data, start, at) & (ch.ALPHABETIC | ch.DIGIT) else 0
    return 0


@inlined
def _between_digits(data: Bytes, start: int, at: int, end: int) -> bool:
    """Is the character at `at` between a digit and a digit or hyphen?"""
    if at == start or at + 1 >= end or not is_digit(data[at - 1]):
        return False
    return is_digit(data[at + 1]) or data[at + 1] == utf8.HYPHEN


@inlined
def _ends_sentence(classes: UInt32s, data: Bytes, start: int, at: int, end: int) -> bool:
    """Is the full stop at `at` one without a space after it, as in "end.Next"?"""
    if not class_before(classes, data, start, at) & (ch.LOWER | ch.QUOTE):
        return False
    return class_at(classes, data, at + 1, end) & (ch.UPPER | ch.QUOTE) != 0


@inlined
def _dash_size(classes: UInt32s, data: Bytes, start: int, at: int, end: int) -> int:
    """Bytes of one to three hyphens, one or two em dashes, an en dash or a tilde between a letter or digit and a
    letter; 0 if there are none."""
    if not class_before(classes, data, start, at) & (ch.ALPHABETIC | ch.DIGIT):
        return 0
    code, width = decode(data, at, end)
    most = MOST_HYPHENS if code == utf8.HYPHEN else (MOST_EM_DASHES if code == EM_DASH else 1)
    size = width
    while most > 1 and at + size < end and decode(data, at + size, end)[0] == code:
        size += width
        most -= 1
    return size if class_at(classes, data, at + size, end) & ch.ALPHABETIC else 0


@leaf
def _join_exceptions(exceptions: Int64s, data: Bytes, spans: Int32s, first: int, count: int) -> int:
    """Join adjacent words from `first` on that together are an exception of one piece; returns the new count."""
    written = word = first
    while word < count:
        start, end, last = spans[word, 0], spans[word, 1], word
        if exceptions[data[start]]:  # no exception starts with most bytes
            for candidate in range(min(count - 1, word + LONGEST_JOIN), word, -1):
                packed = exception_pieces(exceptions, data, start, spans[candidate, 1])
                if packed:
                    last = candidate
                    if packed == spans[candidate, 1] - start:  # one piece: its length is the only one packed
                        word, end = candidate, spans[candidate, 1]
                    break
        written = _append(spans, written, start, end)
        for piece in range(word + 1, last + 1):  # an exception of several pieces: its pieces stay separate
            written = _append(spans, written, spans[piece, 0], spans[piece, 1])
        word = last + 1
    return written


@leaf
def describe_words(
    classes: UInt32s, data: Bytes, spans: Int32s, count: int, hashes: Int64s, lengths: Int32s, kinds: UInt32s
) -> None:
    """Fill, for each word: its hash, its length in characters, and the union of the bit sets of its characters."""
    for word in range(count):
        at, end = spans[word, 0], spans[word, 1]
        hashes[word] = word_hash(data, at, end)
        union, length = np.int64(0), 0
        while at < end:
            code, width = decode(data, at, end)
            union |= np.int64(classes[code])
            at += width
            length += 1
        lengths[word], kinds[word] = length, union


@leaf
def count_sentences(classes: UInt32s, data: Bytes, start: int, spans: Int32s, count: int) -> int:
    """Number of sentences, at least 1, of the words of a text that starts at `start`. A sentence ends after a word that
    is a mark of `characters.TERMINAL`, and the punctuation after it."""
    number, ended, position = 1, False, start
    for word in range(count):
        begin, end = spans[word, 0], spans[word, 1]
        gap = begin - position
        # spaCy makes white space other than one space a word of its own, which starts the next sentence.
        if ended and (gap > 1 or (gap == 1 and data[position] != utf8.SPACE_BYTE)):
            number, ended = number + 1, False
        kind, width = class_at(classes, data, begin, end), decode(data, begin, end)[1]
        if kind & ch.TERMINAL and width == end - begin:
            ended = True
        elif ended and _has_non_punctuation(classes, data, begin, end):
            number, ended = number + 1, False
        position = end
    return number


@inlined
def _has_non_punctuation(classes: UInt32s, data: Bytes, start: int, end: int) -> bool:
    while start < end:
        code, width = decode(data, start, end)
        if classes[code] & ch.NOT_PUNCTUATION:
            return True
        start += width
    return False
