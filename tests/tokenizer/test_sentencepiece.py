"""SentencePiece: the conversion to the format of `tokenizers`."""

from __future__ import annotations

import pytest

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.core.errors import UserError
from gptoss.tokenizer import sentencepiece
from tests.tokenizer.corpus import corpus


def test_sentencepiece_converts_to_the_same_segmentation() -> None:
    model = sentencepiece.train_model(corpus(), 596)
    converted = sentencepiece.convert(model, SPECIAL_TOKENS)
    converted.encode_special_tokens = True
    lines = [line for text in corpus() for line in text.splitlines()]
    lines += ["   three leading, éàü ж 漢字 \U0001f600 12345", "aaaaaaaa        "]
    for line in lines:
        pieces = [piece.replace(sentencepiece.SPACE, " ") for piece in model.encode(line, out_type=str)]
        assert converted.encode(line).tokens == pieces


def test_sentencepiece_needs_room_for_the_characters() -> None:
    with pytest.raises(UserError, match="SentencePiece cannot train 296 pieces"):
        sentencepiece.train(["".join(map(chr, range(0x4E00, 0x4F00))) * 3], 300, SPECIAL_TOKENS)
