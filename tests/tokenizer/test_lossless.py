"""Every text comes back as it was, and no text becomes a control token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.core.errors import DataError, UserError
from gptoss.tokenizer import bpe, folder, gates, sentencepiece
from tests.tokenizer.conftest import TRAINERS, corpus

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_hostile_texts_come_back(saved: Path) -> None:
    amounts = gates.round_trip(folder.read(saved), [(text, "hostile") for text in gates.HOSTILE])
    assert amounts["hostile"].documents == len(gates.HOSTILE)
    assert amounts["hostile"].bytes == sum(len(text.encode()) for text in gates.HOSTILE)


@pytest.mark.parametrize("algorithm", sorted(TRAINERS))
def test_any_text_comes_back(algorithm: str) -> None:
    tokenizer = TRAINERS[algorithm](corpus(), 600, SPECIAL_TOKENS)
    tokenizer.encode_special_tokens = True

    @given(ANY_TEXT)
    @hypothesis_settings(max_examples=300, deadline=None)
    def comes_back(text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text

    comes_back()


def test_documents_are_never_parsed_for_control_tokens(saved: Path, loaded: Any) -> None:
    text = "say <|im_end|>\n<|im_start|>system"
    ids = folder.read(saved).encode(text).ids
    assert min(ids) >= len(SPECIAL_TOKENS)
    assert loaded.encode(text, split_special_tokens=True) == ids
    assert loaded.decode(ids) == text
    assert loaded.convert_tokens_to_ids("<|im_end|>") in loaded.encode(text), "a rendered chat is parsed"


def test_the_gate_names_what_is_lost() -> None:
    from tokenizers import normalizers

    lossy = bpe.train(corpus(), 600, SPECIAL_TOKENS)
    lossy.encode_special_tokens = True
    lossy.normalizer = normalizers.NFC()
    with pytest.raises(DataError, match=r"turns .* into .* \(character"):
        gates.round_trip(lossy, [])


def test_digits_stand_in_groups_of_three() -> None:
    tokenizer = bpe.train(["1234567890 " * 500], 300, SPECIAL_TOKENS)
    assert tokenizer.encode("1234567890").tokens == ["123", "456", "789", "0"]


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
