"""Rules that tell text from noise: every measure of every document, then the first rule that it breaks.

The families and their published definitions: `rules/gopher.py`, `rules/repetition.py`, `rules/c4.py`,
`rules/fineweb.py`, tried in this order; what they take for a word: `rules/words.py`. The later families see what the
line rules of C4 leave of a document, and only documents that kept all earlier rules are measured by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.config.curate import QualityConfig
from gptoss.quality.rules import c4, fineweb, gopher, kernels, repetition
from gptoss.quality.rules.affixes import Int64s, UInt32s, known_words
from gptoss.quality.rules.characters import table
from gptoss.quality.rules.rule import Floats, Rule

Flags = npt.NDArray[np.bool_]
EMPTY = "empty"
"""Reason of the removal of a document without a single word, whatever the settings of the families that are on."""


@dataclass(frozen=True)
class RuleResults:
    """What the rules say about a batch of documents."""

    texts: pa.Array
    """large_string [documents]: of documents kept, what C4's line rules leave; of others, as they came."""
    reason: pa.Array
    """string [documents]: the rule broken, such as `gopher.min_words`; null for documents kept."""
    detail: pa.Array
    """string [documents]: the measured value and the bound, such as `words 12 < 50`; null for documents kept."""
    measures: dict[str, Floats]
    """float64 [documents] by name, of the families that are on; NaN where a document was not measured because it
    broke a rule of an earlier family."""


def apply_rules(texts: pa.Array, languages: pa.Array, quality: QualityConfig) -> RuleResults:
    """Judge `texts` (string or large_string, without nulls) in `languages` (ISO 639-1 codes, string)."""
    batch = _Batch(texts)
    if quality.gopher or quality.repetition:
        batch.measure_words(quality)
    if quality.gopher:
        # Stop words are English words: their absence says nothing about another language.
        foreign = pc.not_equal(languages, "en").to_numpy(zero_copy_only=False)
        batch.apply(gopher.rules(quality.gopher), except_for={"stop_words": foreign})
    if quality.repetition:
        batch.apply(repetition.rules(quality.repetition))
    if quality.c4:
        batch.clean(quality)
        batch.apply(c4.rules(quality.c4))
    if quality.fineweb:
        batch.measure_lines(quality)
        batch.apply(fineweb.rules(quality.fineweb))
    if quality.gopher or quality.repetition or quality.c4 or quality.fineweb:
        batch.remove_empty()
    return batch.judgement()


class _Batch:
    """Texts on their way through the families."""

    def __init__(self, texts: pa.Array) -> None:
        self._original = texts.cast(pa.large_string())
        self._size = len(texts)
        self._data, self._offsets = buffers(self._original)
        self._texts = self._original
        self._words: npt.NDArray[np.int64] | None = None
        self._kept: Flags = np.ones(self._size, dtype=np.bool_)
        self._reasons = np.full(self._size, None, dtype=object)
        self._details = np.full(self._size, None, dtype=object)
        self._measures: dict[str, Floats] = {}

    def measure_words(self, quality: QualityConfig) -> None:
        """Add the measures of Gopher's families."""
        names = repetition.measures(quality.repetition) if quality.repetition else ()
        tops, duplicates = repetition.columns(quality.repetition) if quality.repetition else (_NONE, _NONE)
        by_gopher = np.zeros((self._size if quality.gopher else 0, len(gopher.MEASURES)))
        by_repetition = np.zeros((self._size if quality.repetition else 0, len(names)))
        kernels.measure_words(
            *_tables(), self._data, self._offsets, gopher.stop_hashes(), tops, duplicates, quality.gopher is not None,
            quality.repetition is not None, by_gopher, by_repetition,
        )  # fmt: skip
        if quality.gopher:
            self._add(gopher.MEASURES, by_gopher)
        self._add(names, by_repetition)

    def clean(self, quality: QualityConfig) -> None:
        """Replace the texts of documents kept so far by what C4's line rules leave, and add C4's measures."""
        assert quality.c4 is not None
        out, offsets = np.empty(len(self._data), dtype=np.uint8), np.zeros(self._size + 1, dtype=np.int64)
        self._words = np.zeros(self._size, dtype=np.int64)
        measured = np.full((self._size, len(c4.MEASURES)), np.nan)
        kernels.clean_texts(
            *_tables(), self._data, self._offsets, self._kept, *c4.phrases(), c4.switches(quality.c4), out, offsets,
            self._words, measured,
        )  # fmt: skip
        self._add(c4.MEASURES, measured)
        self._data, self._offsets = out, offsets
        self._texts = pa.LargeStringArray.from_buffers(
            self._size, pa.py_buffer(offsets), pa.py_buffer(out[: offsets[-1]])
        )

    def measure_lines(self, quality: QualityConfig) -> None:
        """Add FineWeb's measures of documents kept so far."""
        assert quality.fineweb is not None
        if self._words is None:
            self._words = np.zeros(self._size, dtype=np.int64)
            kernels.count_words(*_tables(), self._data, self._offsets, self._kept, self._words)
        measured = np.full((self._size, len(fineweb.MEASURES)), np.nan)
        short = quality.fineweb.short_line_length
        kernels.measure_lines(table(), self._data, self._offsets, self._kept, self._words, short, measured)
        self._add(fineweb.MEASURES, measured)

    def _add(self, names: tuple[str, ...], measured: Floats) -> None:
        self._measures.update({name: np.ascontiguousarray(measured[:, column]) for column, name in enumerate(names)})

    def apply(self, rules: tuple[Rule, ...], *, except_for: dict[str, Flags] | None = None) -> None:
        """Remove the documents that break a rule, except, by measure, those it does not apply to."""
        for rule in rules:
            values = self._measures[rule.measure]
            broken = rule.broken(values) & self._kept
            if except_for and rule.measure in except_for:
                broken &= ~except_for[rule.measure]
            self._remove(broken, rule.name, [rule.explain(value) for value in values[broken].tolist()])

    def remove_empty(self) -> None:
        """Remove documents of nothing but white space, as they came or after C4's line rules."""
        empty = np.zeros(self._size, dtype=np.bool_)
        kernels.find_empty(table(), self._data, self._offsets, empty)
        empty &= self._kept
        self._remove(empty, EMPTY, ["no words"] * int(empty.sum()))

    def _remove(self, broken: Flags, reason: str, details: list[str]) -> None:
        self._reasons[broken] = reason
        self._details[broken] = details
        self._kept &= ~broken

    def judgement(self) -> RuleResults:
        texts = self._original
        if self._texts is not self._original:
            texts = pc.if_else(pa.array(self._kept), self._texts, self._original)
        return RuleResults(
            texts, pa.array(self._reasons, pa.string()), pa.array(self._details, pa.string()), self._measures
        )


_NONE = np.full(2, -1, dtype=np.int64)


def _tables() -> tuple[UInt32s, Int64s]:
    return table(), known_words()


def buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A copy of the bytes of all texts, uint8, and where each starts and the last ends, int64 [texts + 1]. A copy
    costs less than kernels compiled for memory that must not be written as well."""
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or data is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    found = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, dtype=np.uint8)[found[0] : found[-1]].copy(), found - found[0]
