"""Configuration of the stage `dedup`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import Fraction, Section


class SubstringsConfig(Section):
    """Exact repeated passages (Lee et al. 2022, section 4.1), found by windows of words."""

    window: PositiveInt
    """Words of the shortest passage."""
    min_kept_words: PositiveInt
    """A document is never cut below this: then its first passage stays."""


class DedupConfig(Section):
    ngram: PositiveInt
    """Words in a shingle."""
    bands: PositiveInt
    rows: PositiveInt
    threshold: Fraction
    """Exact Jaccard similarity from which a candidate pair counts as duplicate."""
    max_removed_fraction: Fraction
    """A source that loses more than this fails the stage."""
    known: tuple[str, ...]
    """Folders `data/deduped/index` of earlier runs: documents that they kept are kept, their duplicates here are
    removed, and their texts are not read again."""
    index: bool
    """Write `data/deduped/index` for later increments: about 1.4 times the size of the text."""
    substrings: SubstringsConfig | None
    """Cut out long passages that occur more than once; null: off."""
