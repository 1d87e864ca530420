"""Train the tokenizer.

In: the clean documents. Out: `data/tokenizer`, a `PreTrainedTokenizerFast` folder with special tokens and a
ChatML template. What can go wrong: no text, no document that fits `tokenizer.sample_bytes`, a vocabulary too
small for the characters of the text (SentencePiece); a tokenizer that does not give every text of the sample
back, or whose chat template marks other tokens than the assistant's, is never written.
Methods: byte-level BPE (`bpe.py`) or SentencePiece BPE with byte fallback (`sentencepiece.py`). Sampling is by
a hash of (seed, document id); the validation split is not known here, so its documents may be in the sample:
merges can be learned from them, token statistics cannot.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder
from gptoss.core.progress import progress
from gptoss.tokenizer import bpe, folder, gates, sentencepiece
from gptoss.tokenizer.sample import Sample, choose
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINERS = {"bpe": bpe.train, "sentencepiece": sentencepiece.train}


def tokenizer(settings: Settings, run: StageRun) -> Metrics:
    """Sample, train, write, and prove the round trip on the whole sample."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # this process forks nothing, and the result is the same
    sample = choose(paths.CLEAN, settings.seed, settings.tokenizer.sample_bytes)
    trained = train(settings, sample)
    with atomic_folder(paths.TOKENIZER) as partial:
        folder.write(partial, trained, settings.model.context)
        gates.loads_and_masks(partial, settings.model.context)
        amounts = gates.round_trip(
            folder.read(partial), progress(sample, "round trip", total=sample.documents, unit="documents")
        )
    return measured(settings, trained.get_vocab_size(), amounts)


def train(settings: Settings, sample: Sample) -> Tokenizer:
    """Train with the configured algorithm; says so when the sample is too small for the vocabulary."""
    texts = (text for text, _ in progress(sample, "tokenizer sample", total=sample.documents, unit="documents"))
    wanted = settings.tokenizer.vocab_size
    trained = TRAINERS[settings.tokenizer.algorithm](texts, wanted, list(settings.tokenizer.special_ids))
    if (size := trained.get_vocab_size()) < wanted:
        print(f"tokenizer: {sample.bytes} bytes of text give {size} tokens, not the {wanted} wanted", file=sys.stderr)
    return trained


def measured(settings: Settings, vocab_size: int, amounts: dict[str, gates.Amount]) -> Metrics:
    """Sizes, and UTF-8 bytes of text for each token (separators not counted), on the sample."""
    total = gates.Amount(
        sum(amount.documents for amount in amounts.values()),
        sum(amount.bytes for amount in amounts.values()),
        sum(amount.tokens for amount in amounts.values()),
    )
    return {
        "algorithm": settings.tokenizer.algorithm,
        "vocab_size": vocab_size,
        "padded_vocab_size": settings.tokenizer.padded_vocab_size,
        "documents": total.documents,
        "bytes": total.bytes,
        "tokens": total.tokens,
        "bytes_per_token": total.bytes / total.tokens,
        "sources": {
            source: {
                "documents": amount.documents,
                "bytes": amount.bytes,
                "bytes_per_token": amount.bytes / amount.tokens,
            }
            for source, amount in sorted(amounts.items())
        },
    }


if __name__ == "__main__":
    run_stage(tokenizer, "tokenizer")
