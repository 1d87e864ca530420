"""Remove spans of words from a text, and join what remains so that paragraphs and lines stay apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Words `first:last` of a document.
Span = tuple[int, int]

_SPACE = re.compile(r"\s")
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")


def remove_spans(encoded: bytes, starts: Sequence[int], ends: Sequence[int], spans: Sequence[Span]) -> str:
    """A UTF-8 text without the words in `spans`, which are in order and do not touch.

    `starts` and `ends` are the byte positions of each word. Punctuation that closes the words before a removed span, or
    opens the words after it, stays.
    """
    pieces, begin = [], 0
    for first, last in spans:
        left = ends[first - 1] if first > 0 else 0
        right = starts[last] if last < len(starts) else len(encoded)
        before, after = encoded[left : starts[first]].decode(), encoded[ends[last - 1] : right].decode()
        # At the start or end of the text there is nothing to separate from, and no sentence to close or open.
        closing = _SPACE.split(before, maxsplit=1)[0] if first > 0 else ""
        opening = _opening(after) if last < len(starts) else ""
        separator = _separator(encoded[left:right].decode()) if first > 0 and last < len(starts) else ""
        pieces += [encoded[begin:left].decode(), closing, separator, opening]
        begin = right
    return "".join([*pieces, encoded[begin:].decode()])


def _opening(after: str) -> str:
    """The part of the characters between a removed span and the next word that belongs to that word: bullet and
    indentation if it begins a line, else an opening quote or bracket."""
    if "\n" in after:
        return after.rsplit("\n", 1)[1]
    # Without a space all of it (", ", "-") closed the removed words.
    return _SPACE.split(after)[-1] if _SPACE.search(after) else ""


def _separator(removed: str) -> str:
    """The strongest break within the removed text: a paragraph, a line or a space."""
    if _PARAGRAPH_BREAK.search(removed):
        return "\n\n"
    return "\n" if "\n" in removed else " "


def replace_documents(batch: pa.RecordBatch, changed: Mapping[int, Mapping[str, Any]]) -> pa.RecordBatch:
    """The batch with `text` and `meta` of the given rows replaced."""
    # Rewriting the columns copies all texts of the batch, and in most batches nothing changes.
    if not changed:
        return batch
    rows = sorted(changed)
    mask = np.zeros(batch.num_rows, dtype=np.bool_)
    mask[rows] = True
    for name in ("text", "meta"):
        column = batch.column(name)
        values = pa.array([changed[row][name] for row in rows], column.type)
        position = batch.schema.get_field_index(name)
        batch = batch.set_column(position, name, pc.replace_with_mask(column, pa.array(mask), values))
    return batch
