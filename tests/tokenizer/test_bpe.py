"""Byte-level BPE."""

from __future__ import annotations

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.tokenizer import bpe


def test_digits_form_groups_of_at_most_three() -> None:
    tokenizer = bpe.train(["1234567890 " * 500], 300, SPECIAL_TOKENS)
    assert tokenizer.encode("1234567890").tokens == ["123", "456", "789", "0"]
