"""Byte-level byte-pair encoding, trained with the library `tokenizers`.

All 256 bytes are in the vocabulary and nothing is normalised, so every text can be encoded and decodes to itself. A
regular expression first splits text into words; merges never cross the boundary of a word.

References: Sennrich et al. 2016 (byte-pair encoding); Radford et al. 2019, section 2.2 (on bytes); the pattern is that
of GPT-4 (`cl100k_base` in tiktoken) and Llama 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Name of the algorithm in the model card.
DESCRIPTION = "byte-level BPE"

# A word takes its leading space, digits form groups of at most three, newlines end a token. Groups of three keep
# numbers short without spending vocabulary on dates and years. The pattern is copied verbatim: llama.cpp implements
# it in C++ and recognises it by name ("llama-bpe"), so any change would break the export to GGUF.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train(texts: Iterable[str], vocab_size: int, special_tokens: list[str]) -> Tokenizer:
    """Train a tokenizer of at most `vocab_size` tokens: `special_tokens` (ids 0 …), the 256 bytes, then merges.

    The merges are a function of the texts alone: they do not depend on the number of threads, since ties are broken by
    token id. A text with too few distinct pairs gives a smaller vocabulary.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    # ByteLevel's own regular expression is that of GPT-2, so it is switched off in favour of PATTERN.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Offsets include the leading space: transformers computes the chat template's mask of assistant tokens from them.
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        # Without it, a byte that does not occur in the sample would have no token.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
