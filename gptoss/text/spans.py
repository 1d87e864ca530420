"""Cut passages out of a text: what stands around a cut is joined so that paragraphs stay paragraphs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Span = tuple[int, int]
"""Words `first:last` of a document."""

_SPACE = re.compile(r"\s")
_PARAGRAPH = re.compile(r"\n\s*\n")


def without(encoded: bytes, starts: Sequence[int], ends: Sequence[int], spans: Sequence[Span]) -> str:
    """A UTF-8 text without the words in `spans`, which are in order and do not touch. `starts` and `ends` are the bytes
    between which each word stands. Punctuation that closes the words before a cut or opens those after it stays."""
    pieces, begin = [], 0
    for first, last in spans:
        left = ends[first - 1] if first > 0 else 0
        right = starts[last] if last < len(starts) else len(encoded)
        before, after = encoded[left : starts[first]].decode(), encoded[ends[last - 1] : right].decode()
        closing = _SPACE.split(before, maxsplit=1)[0] if first > 0 else ""
        opening = _opening(after) if last < len(starts) else ""
        gap = _gap(encoded[left:right].decode()) if first > 0 and last < len(starts) else ""
        pieces += [encoded[begin:left].decode(), closing, gap, opening]
        begin = right
    return "".join([*pieces, encoded[begin:].decode()])


def _opening(after: str) -> str:
    """Of what stands between a passage and the next word, what belongs to the word: a bullet and the indentation when
    it begins a line, else a quote or a bracket."""
    if "\n" in after:
        return after.rsplit("\n", 1)[1]
    return _SPACE.split(after)[-1] if _SPACE.search(after) else ""


def _gap(cut: str) -> str:
    """What stands in the place of a passage between two words: the strongest break that was there."""
    if _PARAGRAPH.search(cut):
        return "\n\n"
    return "\n" if "\n" in cut else " "


def with_changes(batch: pa.RecordBatch, changed: Mapping[int, Mapping[str, Any]]) -> pa.RecordBatch:
    """The batch with the `text` and `meta` of some rows replaced."""
    if not changed:
        return batch
    rows = sorted(changed)
    mask = np.zeros(batch.num_rows, dtype=np.bool_)
    mask[rows] = True
    for name in ("text", "meta"):
        column = batch.column(name)
        values = pa.array([changed[row][name] for row in rows], column.type)
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, name, pc.replace_with_mask(column, pa.array(mask), values))
    return batch
