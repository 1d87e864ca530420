"""Configuration of the stage `curate`. Null switches a filter or a family of rules off."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from gptoss.config.section import Fraction, PositiveFloat, Section

Treatment = Literal["keep", "replace", "drop"]
"""What happens to personal data of one kind: nothing, replacement by a neutral value, removal of the document."""


class GopherConfig(Section):
    """Quality rules of Gopher (Rae et al. 2021, appendix A1.1); published bounds: `gptoss/quality/rules/gopher.py`."""

    min_words: PositiveInt
    max_words: PositiveInt
    min_mean_word_length: PositiveFloat
    max_mean_word_length: PositiveFloat
    max_symbol_to_word_ratio: PositiveFloat
    min_alphabetic_word_fraction: Fraction
    min_stop_words: int
    max_bullet_line_fraction: Fraction
    max_ellipsis_line_fraction: Fraction


class RepetitionConfig(Section):
    """Repetition rules of Gopher (Rae et al. 2021, table A1): fractions of lines, paragraphs and characters."""

    max_duplicate_line_fraction: Fraction
    max_duplicate_paragraph_fraction: Fraction
    max_duplicate_line_characters: Fraction
    max_duplicate_paragraph_characters: Fraction
    max_top_ngram_characters: tuple[tuple[PositiveInt, Fraction], ...]
    """Pairs (n, bound) on the fraction of characters in the most frequent n-gram."""
    max_duplicate_ngram_characters: tuple[tuple[PositiveInt, Fraction], ...]
    """Pairs (n, bound) on the fraction of characters in n-grams that occur more than once."""


class C4Config(Section):
    """Rules of C4 (Raffel et al. 2020, section 2.2); the line rules cut lines, the others remove documents."""

    min_sentences: int = Field(ge=0)
    min_words_per_line: int = Field(ge=0)
    max_word_length: PositiveInt
    terminal_punctuation: bool
    """Cut lines that do not end in a terminal punctuation mark."""
    remove_citations: bool
    cut_javascript: bool
    cut_policy: bool
    drop_lorem_ipsum: bool
    drop_curly_brackets: bool


class FineWebConfig(Section):
    """Rules added by FineWeb (Penedo et al. 2024, section 3.6)."""

    min_terminal_punctuation_lines: Fraction
    max_short_line_fraction: Fraction
    short_line_length: PositiveInt
    max_duplicate_line_characters: Fraction
    max_newline_to_word_ratio: PositiveFloat


class QualityConfig(Section):
    """The families of document rules."""

    gopher: GopherConfig | None
    repetition: RepetitionConfig | None
    c4: C4Config | None
    fineweb: FineWebConfig | None


class PersonalDataConfig(Section):
    """What happens to personal data, by kind."""

    email: Treatment
    ip: Treatment
    phone: Treatment
    credit_card: Treatment
    iban: Treatment
    national_id: Treatment

    @property
    def redacted_kinds(self) -> list[str]:
        """The kinds that no output contains."""
        return [kind for kind, treatment in self if treatment != "keep"]


class RepeatedLinesConfig(Section):
    """Boilerplate: lines that occur in many documents of a source are cut from all of them."""

    min_documents: PositiveInt
    min_words: PositiveInt
    """Shorter lines (headings, speakers' names) are never cut."""


class ToxicityConfig(Section):
    """A word-list filter."""

    words: str
    """File or URL (optionally `#sha256=HEX`) with one word or phrase per line."""
    max_fraction: Fraction
    """Highest fraction of listed words in a document."""


class UrlsConfig(Section):
    """Filter by address."""

    blocked_domains: tuple[str, ...]
    """Domains, with all their subdomains. An entry with a slash is a file or URL (optionally with `#sha256=HEX`) of a
    list with one domain per line."""
    blocked_words: tuple[str, ...]
    """Words that may not occur in the address between characters that are neither letters nor digits."""


class CurateConfig(Section):
    languages: tuple[str, ...]
    """ISO 639-1 codes; documents in other languages are removed."""
    urls: UrlsConfig | None
    quality: QualityConfig
    repeated_lines: RepeatedLinesConfig | None
    personal_data: PersonalDataConfig
    toxicity: ToxicityConfig | None
    filters: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    """Settings of filters that have no key above, by name: their `Config` class is in `gptoss/curate/filters/NAME.py`,
    so that a new filter touches no configuration module."""

    @model_validator(mode="after")
    def _check_filters(self) -> CurateConfig:
        # A mistake should fail here, before any stage works. The filters are imported by name, and only when used:
        # configuration is the lowest layer, and most commands that read it need neither Numba nor Arrow.
        if self.filters:
            import_module("gptoss.curate.filters").check_filter_settings(self.filters)
        return self
