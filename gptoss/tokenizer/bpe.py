"""Byte-level BPE (Sennrich et al. 2016; on bytes: Radford et al. 2019, section 2.2), trained with `tokenizers`.

All 256 bytes are in the vocabulary and nothing is normalised, so every text can be encoded and comes back
as it was. Text is first cut by the pattern of GPT-4 and Llama 3: a word takes its leading space, digits
stand in groups of at most three, newlines end a token. Merges never cross a cut. Three digits keep numbers
short without spending the vocabulary on dates and years; the pattern is taken verbatim because serving
engines (llama.cpp among them) know it by heart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train(texts: Iterable[str], vocab_size: int, special_tokens: list[str]) -> Tokenizer:
    """A tokenizer of at most `vocab_size` tokens: `special_tokens` (ids 0 …), the 256 bytes, then merges.

    Equal texts give equal merges whatever the number of threads: ties are broken by token id. A text too
    small for `vocab_size` merges gives a smaller vocabulary.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Offsets keep their leading space: the chat template's mask of assistant tokens is found through them.
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
