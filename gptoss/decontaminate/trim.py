"""Remove the sentences of a text that contain a match."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from gptoss.text.arrays import Integers
from gptoss.text.normalize import find_words
from gptoss.text.spans import Span

# Characters before and after a match within which the ends of its sentence are searched. GPT-3 removed all of them.
SENTENCE_REACH = 200
# Pieces shorter than this (characters) are dropped, as for GPT-3: they are rarely coherent text.
MIN_PIECE = 200

_SPACE = re.compile(r"\s+")
# A full stop, with closing quotes and brackets, before a space; or an empty line. Abbreviations end a "sentence" too:
# the cut is then closer to the match, which is still removed as a whole.
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|\n\s*\n")


def trim(text: str, matches: Iterable[Span]) -> list[str]:
    """The pieces that remain of a text without the sentences that contain the words of each match."""
    words = find_words(pa.array([text], pa.large_string()), lowercase=False)
    characters = _characters_before(text)
    pieces, start = [], 0
    for first, last in _merge_overlapping(matches):
        begin, end = int(characters[words.starts[first]]), int(characters[words.ends[last - 1]])
        # Sentences of neighbouring matches may overlap: `start` never moves back.
        pieces.append(text[start : max(start, _sentence_start(text, begin))])
        start = max(start, _sentence_end(text, end))
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if len(piece.strip()) >= MIN_PIECE]


def _merge_overlapping(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, overlapping ones merged. Otherwise a text that is all matches would be searched for the ends
    of a sentence once per word."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _characters_before(text: str) -> Integers:
    """The number of characters before every position in the UTF-8 bytes of a text, int64 [bytes + 1]."""
    encoded = np.frombuffer(text.encode(), dtype=np.uint8)
    characters = np.zeros(len(encoded) + 1, dtype=np.int64)
    # Bytes 10xxxxxx continue a character, all others begin one.
    np.cumsum((encoded & 0xC0) != 0x80, out=characters[1:])
    return characters


def _sentence_start(text: str, begin: int) -> int:
    reach = max(0, begin - SENTENCE_REACH)
    ends = [end.end() for end in _SENTENCE_END.finditer(text, reach, begin)]
    if ends or reach == 0:
        return ends[-1] if ends else 0
    space = _SPACE.search(text, reach, begin)  # no sentence begins within reach: cut between two words
    return space.end() if space else reach


def _sentence_end(text: str, end: int) -> int:
    reach = min(len(text), end + SENTENCE_REACH)
    found = _SENTENCE_END.search(text, end, reach)
    if found or reach == len(text):
        return found.end() if found else reach
    # The last space within reach: like GPT-3, rather remove too much than leave half of an item.
    spaces = list(_SPACE.finditer(text, end, reach))
    return spaces[-1].start() if spaces else reach
