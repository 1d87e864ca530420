"""Configuration of the stage `tokenizer`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from gptoss.config.section import Section

SEPARATOR = "<|endoftext|>"
PADDING = "<|pad|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
SPECIAL_TOKENS = [SEPARATOR, PADDING, MESSAGE_START, MESSAGE_END]
"""Ids 0, 1, 2, 3; `tokenizer.extra_tokens` follow. Encoding adds none of them by itself."""
FIM_TOKENS = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""Extra tokens that the objective `fill_in_the_middle` needs."""


class TokenizerConfig(Section):
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
    def _holds_every_byte(self) -> TokenizerConfig:
        least = 300 + len(self.extra_tokens)
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size {self.vocab_size} cannot hold 256 bytes and the special tokens: set it to {least} or more"
            )
        if len(self.special_ids) < len(SPECIAL_TOKENS) + len(self.extra_tokens):
            raise ValueError(f"extra_tokens {', '.join(self.extra_tokens)}: a token is named twice, or always there")
        return self
