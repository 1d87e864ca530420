"""Rules that tell text from noise, as columns: every measure of every document at once, then the first rule it breaks.

From Gopher (Rae et al. 2021, appendix A1.1):
- `min_words`, `max_words`: too short or too long;
- `mean_word_length` outside its bounds (characters a word);
- `symbol_to_word_ratio`: hash signs, or ellipses (`...` or `…`), a word, whichever is more;
- `bullet_line_fraction`: lines that start with a bullet; `ellipsis_line_fraction`: lines that end with an ellipsis;
- `alphabetic_word_fraction`: words with at least one letter;
- `stop_words`: how many of *the, be, to, of, and, that, have, with* occur
  (they are English words: the rule does not apply to other languages);
- `duplicate_line_fraction` (table A1, repetition): lines that repeat an earlier one.
From C4 (Raffel et al. 2020, section 2.2): `lorem_ipsum`, the placeholder phrase occurs.

A word is a maximal run of characters other than white space, so punctuation belongs to the word it touches; a line is
what is between line feeds, without white space around it, and empty lines do not count. Implementations that count
punctuation marks as words of their own (spaCy tokens) measure other values against the same thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.settings import Quality

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("•", "‣", "◦", "▪", "■", "●", "*", "-", "–")
ELLIPSES = ("...", "…")


@dataclass(frozen=True)
class Rule:
    """`measure` must not be below (`<`) or above (`>`) a bound."""

    name: str
    """The key of `curate.quality` that holds the bound, or the name of the measure where it is fixed."""
    measure: str
    side: str
    bound: float

    def broken(self, measured: Floats) -> npt.NDArray[np.bool_]:
        """Which documents break the rule, bool [documents]."""
        return measured < self.bound if self.side == "<" else measured > self.bound

    def explain(self, value: float) -> str:
        """The measured value and the bound, such as `mean_word_length 2.1 < 3`."""
        return f"{self.measure} {value:.6g} {self.side} {self.bound:g}"


def rules(quality: Quality) -> tuple[Rule, ...]:
    """All rules, in the order in which they are tried."""
    return (
        Rule("min_words", "words", "<", quality.min_words),
        Rule("max_words", "words", ">", quality.max_words),
        Rule("min_mean_word_length", "mean_word_length", "<", quality.min_mean_word_length),
        Rule("max_mean_word_length", "mean_word_length", ">", quality.max_mean_word_length),
        Rule("max_symbol_to_word_ratio", "symbol_to_word_ratio", ">", quality.max_symbol_to_word_ratio),
        Rule("min_alphabetic_word_fraction", "alphabetic_word_fraction", "<", quality.min_alphabetic_word_fraction),
        Rule("min_stop_words", "stop_words", "<", quality.min_stop_words),
        Rule("max_bullet_line_fraction", "bullet_line_fraction", ">", quality.max_bullet_line_fraction),
        Rule("max_ellipsis_line_fraction", "ellipsis_line_fraction", ">", quality.max_ellipsis_line_fraction),
        Rule("max_duplicate_line_fraction", "duplicate_line_fraction", ">", quality.max_duplicate_line_fraction),
        Rule("lorem_ipsum", "lorem_ipsum", ">", 0),
    )


def judge(texts: pa.Array, languages: pa.Array, quality: Quality) -> tuple[pa.Array, pa.Array]:
    """The first rule each document breaks and why: two string arrays [documents], null where it breaks none."""
    measures = measure(texts)
    # Stop words are English words: their absence says nothing about another language.
    measures["stop_words"][pc.not_equal(languages, "en").to_numpy(zero_copy_only=False)] = np.inf
    reasons: list[str | None] = [None] * len(texts)
    details: list[str | None] = [None] * len(texts)
    for rule in rules(quality):
        values = measures[rule.measure]
        for row in np.flatnonzero(rule.broken(values)).tolist():
            if reasons[row] is None:
                reasons[row], details[row] = rule.name, rule.explain(values[row])
    return pa.array(reasons, pa.string()), pa.array(details, pa.string())


def measure(texts: pa.Array) -> dict[str, Floats]:
    """Every measure of the rules, float64 [documents] each; fractions of nothing are 0."""
    return _words(texts) | _lines(texts)


def _words(texts: pa.Array) -> dict[str, Floats]:
    owners, words = _pieces(pc.utf8_split_whitespace(texts))
    # What only depends on the word is computed once for each distinct word.
    encoded = words.dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    distinct = encoded.dictionary
    characters = pc.utf8_length(distinct).to_numpy().astype(np.float64)
    alphabetic = _flags(pc.match_substring_regex(distinct, r"\p{L}"))
    bare = pc.utf8_lower(pc.replace_substring_regex(distinct, r"^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$", ""))
    count = np.bincount(owners, minlength=len(texts)).astype(np.float64)
    divisor = np.maximum(count, 1)
    symbols = np.maximum(_occurrences(texts, "#"), sum(_occurrences(texts, mark) for mark in ELLIPSES))
    which = pc.fill_null(pc.index_in(bare, pa.array(STOP_WORDS, bare.type)), -1).to_numpy()[codes]
    present = np.zeros((len(texts), len(STOP_WORDS)), dtype=np.bool_)
    present[owners[which >= 0], which[which >= 0]] = True
    return {
        "words": count,
        "mean_word_length": np.bincount(owners, characters[codes], len(texts)) / divisor,
        "symbol_to_word_ratio": symbols / divisor,
        "alphabetic_word_fraction": np.bincount(owners, alphabetic[codes], len(texts)) / divisor,
        "stop_words": present.sum(axis=1, dtype=np.float64),
        "lorem_ipsum": _occurrences(texts, "lorem ipsum", ignore_case=True),
    }


def _lines(texts: pa.Array) -> dict[str, Floats]:
    owners, lines = _pieces(pc.split_pattern(texts, "\n"), trim=True)
    divisor = np.maximum(np.bincount(owners, minlength=len(texts)), 1)
    bullets = _flags(pc.is_in(pc.utf8_slice_codeunits(lines, 0, 1), pa.array(BULLETS, lines.type)))
    ellipses = np.zeros(len(lines), dtype=np.bool_)
    for mark in ELLIPSES:
        ellipses |= _flags(pc.ends_with(lines, mark))
    codes = lines.dictionary_encode().indices.to_numpy().astype(np.int64)
    order = np.lexsort((codes, owners))
    repeats = np.zeros(len(lines), dtype=np.bool_)
    repeats[order[1:]] = (codes[order][1:] == codes[order][:-1]) & (owners[order][1:] == owners[order][:-1])
    fractions = {"bullet": bullets, "ellipsis": ellipses, "duplicate": repeats}
    return {
        f"{name}_line_fraction": np.bincount(owners, flags, len(texts)) / divisor for name, flags in fractions.items()
    }


def _pieces(lists: pa.Array, *, trim: bool = False) -> tuple[Integers, pa.Array]:
    """The non-empty strings in a list array, and the document each belongs to, int64 [pieces]."""
    owners, pieces = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    if trim:
        pieces = pc.utf8_trim_whitespace(pieces)
    filled = pc.not_equal(pieces, "")
    return owners[_flags(filled)].astype(np.int64), pieces.filter(filled)


def _occurrences(texts: pa.Array, pattern: str, *, ignore_case: bool = False) -> Floats:
    counts = pc.count_substring(texts, pattern, ignore_case=ignore_case)
    return np.asarray(counts.to_numpy(), dtype=np.float64)


def _flags(values: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.bool_)
