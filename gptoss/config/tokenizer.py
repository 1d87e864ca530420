"""Configuration of the stage `tokenizer`, and the names of the special tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from gptoss.config.extensions import TOKENIZERS, require_registered
from gptoss.config.section import Section

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
SPECIAL_TOKENS = [END_OF_TEXT, PADDING, MESSAGE_START, MESSAGE_END]
"""Ids 0, 1, 2, 3; `tokenizer.extra_tokens` follow. Encoding a text adds none of them."""
FIM_TOKENS = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""Extra tokens that the objective `fill_in_the_middle` needs."""
# 256 bytes and four special tokens take 260 ids; the others leave room for at least a few learned tokens.
MIN_VOCAB_SIZE = 300


class TokenizerConfig(Section):
    algorithm: str
    """A key of `TOKENIZERS` in `extensions.py`."""
    vocab_size: PositiveInt
    extra_tokens: tuple[Annotated[str, Field(pattern=r"^<\|[a-z0-9_]+\|>$")], ...]
    """Further special tokens, such as `<|fim_prefix|>`; their ids follow those of the four that every tokenizer has."""
    pad_to_multiple_of: PositiveInt
    sample_bytes: PositiveInt

    @property
    def special_ids(self) -> dict[str, int]:
        """The id of each special token."""
        return {token: number for number, token in enumerate((*SPECIAL_TOKENS, *self.extra_tokens))}

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` rounded up to `pad_to_multiple_of`."""
        multiple = self.pad_to_multiple_of
        return -(-self.vocab_size // multiple) * multiple

    @model_validator(mode="after")
    def _check_vocabulary(self) -> TokenizerConfig:
        require_registered("algorithm", self.algorithm, TOKENIZERS)
        minimum = MIN_VOCAB_SIZE + len(self.extra_tokens)
        if self.vocab_size < minimum:
            raise ValueError(
                f"vocab_size {self.vocab_size} cannot hold 256 bytes and the special tokens: "
                f"set it to {minimum} or more"
            )
        if len(self.special_ids) < len(SPECIAL_TOKENS) + len(self.extra_tokens):
            raise ValueError(
                f"extra_tokens {', '.join(self.extra_tokens)}: remove the duplicates, and the tokens "
                "that every tokenizer has"
            )
        return self
