"""Decisions of our quality rules on documents, rule by rule, and how often datatrove's decisions are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gptoss.config.curate import C4Config, FineWebConfig, GopherConfig, QualityConfig, RepetitionConfig
from gptoss.quality.rule_families import RuleResults, apply_rules

Flags = npt.NDArray[np.bool_]

# Bounds as published: Rae et al. 2021, appendix A1 (Gopher); Raffel et al. 2020, section 2.2 (C4); Penedo et al. 2024,
# section 3 (FineWeb).
GOPHER = GopherConfig(
    min_words=50,
    max_words=100_000,
    min_mean_word_length=3,
    max_mean_word_length=10,
    max_symbol_to_word_ratio=0.1,
    min_alphabetic_word_fraction=0.8,
    min_stop_words=2,
    max_bullet_line_fraction=0.9,
    max_ellipsis_line_fraction=0.3,
)
REPETITION = RepetitionConfig(
    max_duplicate_line_fraction=0.3,
    max_duplicate_paragraph_fraction=0.3,
    max_duplicate_line_characters=0.2,
    max_duplicate_paragraph_characters=0.2,
    max_top_ngram_characters=((2, 0.2), (3, 0.18), (4, 0.16)),
    max_duplicate_ngram_characters=((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)),
)
C4_RULES = C4Config(
    min_sentences=5,
    min_words_per_line=3,
    max_word_length=1000,
    terminal_punctuation=True,
    remove_citations=True,
    cut_javascript=True,
    cut_policy=True,
    drop_lorem_ipsum=True,
    drop_curly_brackets=True,
)
FINEWEB = FineWebConfig(
    min_terminal_punctuation_lines=0.12,
    max_short_line_fraction=0.67,
    short_line_length=30,
    max_duplicate_line_characters=0.01,
    max_newline_to_word_ratio=0.3,
)
OFF = QualityConfig(gopher=None, repetition=None, c4=None, fineweb=None)
# Each family alone with the published bounds, and all families together.
PUBLISHED = {
    "gopher": OFF.model_copy(update={"gopher": GOPHER}),
    "repetition": OFF.model_copy(update={"repetition": REPETITION}),
    "c4": OFF.model_copy(update={"c4": C4_RULES}),
    "fineweb": OFF.model_copy(update={"fineweb": FINEWEB}),
    "chain": QualityConfig(gopher=GOPHER, repetition=REPETITION, c4=C4_RULES, fineweb=FINEWEB),
}
# FineWeb's variant: the rule removes too much text.
WITHOUT_TERMINAL = "c4 without terminal_punctuation"
# C4 with every rule off: a rule is switched on alone in a copy.
BARE_C4 = C4Config(
    min_sentences=0,
    min_words_per_line=0,
    max_word_length=2**31 - 1,
    terminal_punctuation=False,
    remove_citations=False,
    cut_javascript=False,
    cut_policy=False,
    drop_lorem_ipsum=False,
    drop_curly_brackets=False,
)
# Rules that compare one measure with a bound: measure and side on which a document is removed, bound.
BOUNDS = {
    "words <": 50, "words >": 300, "mean_word_length <": 3, "mean_word_length >": 10, "symbol_to_word_ratio >": 0.1,
    "bullet_line_fraction >": 0.9, "ellipsis_line_fraction >": 0.3, "alphabetic_word_fraction <": 0.8,
    "stop_words <": 2, "duplicate_line_fraction >": 0.3, "duplicate_paragraph_fraction >": 0.3,
    "duplicate_line_characters >": 0.2, "duplicate_paragraph_characters >": 0.2,
    **{f"top_{n}gram >": bound for n, bound in REPETITION.max_top_ngram_characters},
    **{f"duplicate_{n}gram >": bound for n, bound in REPETITION.max_duplicate_ngram_characters},
    "terminal_punctuation_line_fraction <": 0.12, "short_line_fraction >": 0.67, "repeated_line_characters >": 0.01,
    "newline_to_word_ratio >": 0.3,
}  # fmt: skip


@dataclass(frozen=True)
class RuleDecisions:
    """Decisions of rules on documents."""

    kept: dict[str, Flags]
    """bool [documents] by rule: true where it keeps the document."""
    texts: dict[str, list[str]]
    """By family that changes texts: first 8 hex digits of the SHA-256 of a kept document's text, or zeros."""


def apply_all_rules(documents: Sequence[str]) -> RuleDecisions:
    """Apply every family, and every rule alone, to the documents; all are treated as English."""
    texts = pa.array(documents, pa.large_string())
    languages = pa.array(["en"] * len(documents))
    results = {name: apply_rules(texts, languages, quality) for name, quality in PUBLISHED.items() if name != "chain"}
    for name, changes in {
        WITHOUT_TERMINAL: C4_RULES.model_copy(update={"terminal_punctuation": False}),
        "lorem_ipsum >": BARE_C4.model_copy(update={"drop_lorem_ipsum": True}),
        "curly_brackets >": BARE_C4.model_copy(update={"drop_curly_brackets": True}),
        "sentences <": BARE_C4.model_copy(update={"min_sentences": 5}),
    }.items():
        results[name] = apply_rules(texts, languages, OFF.model_copy(update={"c4": changes}))
    kept = {name: result.reason.is_null().to_numpy(zero_copy_only=False) for name, result in results.items()}
    # One pass computes the measures of a family; each bound is then a comparison.
    measures = {name: values for result in results.values() for name, values in result.measures.items()}
    for rule, bound in BOUNDS.items():
        values = measures[rule[:-2]]  # the name without the side, " <" or " >"
        kept[rule] = ~(values < bound if rule.endswith("<") else values > bound)
    return RuleDecisions(kept, {name: _digests(results[name]) for name in ("c4", WITHOUT_TERMINAL)})


def agreement(ours: RuleDecisions, rules: Sequence[str], decisions: Sequence[str]) -> dict[str, float]:
    """Share of equal decisions by rule, of the documents that datatrove decided on.

    `decisions`: a string per document with a character per rule, `1` kept, `0` removed, `-` datatrove failed.
    """
    shares = {}
    for column, rule in enumerate(rules):
        theirs = np.array([row[column] for row in decisions])
        decided = theirs != "-"  # datatrove divides by zero on some documents, which are left out
        shares[rule] = float(np.mean(ours.kept[rule][decided] == (theirs[decided] == "1")))
    return shares


def _digests(result: RuleResults) -> list[str]:
    return [
        "0" * 8 if reason is not None else hashlib.sha256(text.encode()).hexdigest()[:8]
        for text, reason in zip(result.texts.to_pylist(), result.reason.to_pylist(), strict=True)
    ]
