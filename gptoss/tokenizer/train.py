"""Train a tokenizer with the configured algorithm, and the metrics of the result."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from gptoss.config.extensions import TOKENIZERS, load
from gptoss.config.tokenizer import TokenizerConfig
from gptoss.core.progress import progress
from gptoss.tokenizer.sample import TokenizerSample
from gptoss.tokenizer.token_counts import TokenCounts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def train_tokenizer(config: TokenizerConfig, sample: TokenizerSample) -> Tokenizer:
    """Train with `tokenizer.algorithm`; prints a note when the sample is too small for `tokenizer.vocab_size`."""
    documents = progress(sample, "tokenizer sample", total=sample.documents, unit="documents")
    algorithm = load(TOKENIZERS, config.algorithm)
    trained: Tokenizer = algorithm.train((text for text, _ in documents), config.vocab_size, list(config.special_ids))
    if (size := trained.get_vocab_size()) < config.vocab_size:
        print(
            f"tokenizer: {sample.bytes} bytes of text give {size} tokens, fewer than tokenizer.vocab_size "
            f"({config.vocab_size})",
            file=sys.stderr,
        )
    return trained


def tokenizer_metrics(config: TokenizerConfig, vocab_size: int, counts: Mapping[str, TokenCounts]) -> dict[str, Any]:
    """Return vocabulary sizes and the compression ratio on the sample, in total and per source.

    `bytes_per_token` does not count separators, unlike that of the stage `shards`.
    """
    # Summing a source's `bytes_per_token` would weight small sources like large ones.
    total = TokenCounts(*(sum(column) for column in zip(*map(astuple, counts.values()), strict=True)))
    return {
        "algorithm": config.algorithm,
        "vocab_size": vocab_size,
        "padded_vocab_size": config.padded_vocab_size,
        **total.as_metrics(),
        "sources": {
            source: {key: value for key, value in count.as_metrics().items() if key != "tokens"}
            for source, count in sorted(counts.items())
        },
    }
