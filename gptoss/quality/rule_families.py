"""Apply the families of quality rules to a batch of documents: measure every document, find the first rule it breaks.

The families and their published definitions are in `rules/gopher.py`, `rules/repetition.py`, `rules/c4.py` and
`rules/fineweb.py`, applied in this order; their definition of a word is in `rules/words.py`. Later families see what
C4's line rules leave of a document, and measure only documents that broke no rule so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.config.curate import C4Config, FineWebConfig, QualityConfig
from gptoss.quality.rules import c4, fineweb, gopher, kernels, repetition
from gptoss.quality.rules.affixes import exception_table
from gptoss.quality.rules.characters import class_table
from gptoss.quality.rules.compiled import Flags, Floats
from gptoss.quality.rules.rule import Rule
from gptoss.text.arrays import utf8_bytes

EMPTY = "empty"
"""Reason for removing a document without a single word, whatever the settings of the families that are on."""
_NO_COLUMNS = np.full(2, -1, dtype=np.int64)


@dataclass(frozen=True)
class RuleResults:
    """The results of the rules for a batch of documents."""

    texts: pa.Array
    """large_string [documents]: what C4's line rules leave of documents kept; the others unchanged."""
    reason: pa.Array
    """string [documents]: the rule broken, such as `gopher.min_words`; null for documents kept."""
    detail: pa.Array
    """string [documents]: the measured value and the bound, such as `words 12 < 50`; null for documents kept."""
    measures: dict[str, Floats]
    """float64 [documents] by name, of the families that are on; NaN where a document was not measured because it
    broke a rule of an earlier family."""


def apply_rules(texts: pa.Array, languages: pa.Array, config: QualityConfig) -> RuleResults:
    """Apply the rules to `texts` (string or large_string, no nulls) in `languages` (ISO 639-1 codes, string)."""
    batch = _Batch(texts)
    if config.gopher or config.repetition:
        batch.measure_words(config)
    if config.gopher:
        # Stop words are English words: their absence says nothing about a text in another language.
        foreign = pc.not_equal(languages, "en").to_numpy(zero_copy_only=False)
        batch.apply(gopher.rules(config.gopher), exempt={"stop_words": foreign})
    if config.repetition:
        batch.apply(repetition.rules(config.repetition))
    if config.c4:
        batch.clean(config.c4)
        batch.apply(c4.rules(config.c4))
    if config.fineweb:
        batch.measure_lines(config.fineweb)
        batch.apply(fineweb.rules(config.fineweb))
    if config.gopher or config.repetition or config.c4 or config.fineweb:
        batch.remove_empty()
    return batch.results()


class _Batch:
    """Texts on their way through the families."""

    def __init__(self, texts: pa.Array) -> None:
        self._original = self._texts = texts.cast(pa.large_string())
        data, self._offsets = utf8_bytes(self._original)
        # Arrow's buffers are read-only, which is another type for Numba: a copy costs less than compiling all kernels
        # twice (C4's output is writable).
        self._data = data.copy()
        self._tables = class_table(), exception_table()
        self._kept: Flags = np.ones(len(texts), dtype=np.bool_)
        self._words = np.full(len(texts), kernels.UNKNOWN_WORDS, dtype=np.int64)
        self._reasons, self._details = np.full((2, len(texts)), None, dtype=object)
        self._measures: dict[str, Floats] = {}

    def measure_words(self, config: QualityConfig) -> None:
        """Add the measures of Gopher's two families, which share the words."""
        names = repetition.measures(config.repetition) if config.repetition else ()
        columns = repetition.ngram_columns(config.repetition) if config.repetition else (_NO_COLUMNS, _NO_COLUMNS)
        by_gopher = np.zeros((len(self._kept) if config.gopher else 0, len(gopher.MEASURES)))
        by_repetition = np.zeros((len(self._kept) if config.repetition else 0, len(names)))
        kernels.measure_words(
            *self._tables, self._data, self._offsets, gopher.stop_word_hashes(), *columns, config.gopher is not None,
            config.repetition is not None, by_gopher, by_repetition,
        )  # fmt: skip
        if config.gopher:
            self._add_measures(gopher.MEASURES, by_gopher)
        self._add_measures(names, by_repetition)

    def clean(self, config: C4Config) -> None:
        """Replace the texts of documents kept so far by what C4's line rules leave, and add C4's measures."""
        out, offsets = np.empty(len(self._data), dtype=np.uint8), np.zeros(len(self._offsets), dtype=np.int64)
        measures = np.full((len(self._kept), len(c4.MEASURES)), np.nan)
        kernels.clean_texts(
            *self._tables, self._data, self._offsets, self._kept, *c4.phrase_table(), c4.settings_array(config), out,
            offsets, self._words, measures,
        )  # fmt: skip
        self._add_measures(c4.MEASURES, measures)
        self._data, self._offsets = out, offsets
        self._texts = pa.LargeStringArray.from_buffers(
            len(self._kept), pa.py_buffer(offsets), pa.py_buffer(out[: offsets[-1]])
        )

    def measure_lines(self, config: FineWebConfig) -> None:
        """Add FineWeb's measures of documents kept so far."""
        measures = np.full((len(self._kept), len(fineweb.MEASURES)), np.nan)
        kernels.measure_lines(
            *self._tables, self._data, self._offsets, self._kept, self._words, config.short_line_length, measures
        )
        self._add_measures(fineweb.MEASURES, measures)

    def _add_measures(self, names: Sequence[str], measures: Floats) -> None:
        self._measures.update({name: np.ascontiguousarray(measures[:, column]) for column, name in enumerate(names)})

    def apply(self, rules: Sequence[Rule], *, exempt: Mapping[str, Flags] | None = None) -> None:
        """Remove the documents that break a rule; `exempt` flags, by measure, those to which a rule does not apply."""
        for rule in rules:
            values = self._measures[rule.measure]
            broken = rule.broken(values) & self._kept
            if exempt and rule.measure in exempt:
                broken &= ~exempt[rule.measure]
            self._remove(broken, rule.name, [rule.explain(value) for value in values[broken].tolist()])

    def remove_empty(self) -> None:
        """Remove documents of white space only, as ingested or after C4's line rules."""
        empty = np.zeros(len(self._kept), dtype=np.bool_)
        kernels.find_empty(self._tables[0], self._data, self._offsets, empty)
        empty &= self._kept
        self._remove(empty, EMPTY, ["no words"] * int(empty.sum()))

    def _remove(self, broken: Flags, reason: str, details: list[str]) -> None:
        self._reasons[broken] = reason
        self._details[broken] = details
        self._kept &= ~broken

    def results(self) -> RuleResults:
        """The results of the families applied so far."""
        texts = self._original
        if self._texts is not self._original:
            texts = pc.if_else(pa.array(self._kept), self._texts, self._original)
        return RuleResults(
            texts, pa.array(self._reasons, pa.string()), pa.array(self._details, pa.string()), self._measures
        )
