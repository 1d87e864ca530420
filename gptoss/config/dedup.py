"""Configuration of the stage `dedup`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import Fraction, Section


class SubstringsConfig(Section):
    """Removal of exact repeated passages (Lee et al. 2022, section 4.1), found by windows of words."""

    window: PositiveInt
    """Words of the shortest passage that is removed."""
    min_kept_words: PositiveInt
    """A document always keeps at least this many words: its first passages stay."""


class DedupConfig(Section):
    """Removal of exact and near duplicates (Lee et al. 2022, section 4.2) and of repeated passages."""

    ngram: PositiveInt
    """Words per shingle."""
    # A pair of similarity s becomes a candidate with probability 1 - (1 - s^rows)^bands (see gptoss/dedup/minhash.py).
    bands: PositiveInt
    """Bands of the MinHash signature. More bands find more similar pairs, and more pairs that fail verification."""
    rows: PositiveInt
    """MinHash values per band. More rows exclude more dissimilar pairs."""
    threshold: Fraction
    """Exact Jaccard similarity from which a candidate pair counts as duplicate."""
    max_removed_fraction: Fraction
    """A source that loses a larger fraction of its documents fails the stage."""
    known: tuple[str, ...]
    """Folders `data/deduped/index` of earlier runs. The documents that they kept stay kept, their duplicates in this
    run are removed, and their texts are not read again."""
    index: bool
    """Write `data/deduped/index` for later increments: about 1.4 times the size of the text."""
    substrings: SubstringsConfig | None
    """Remove long passages that occur more than once; null: off."""
