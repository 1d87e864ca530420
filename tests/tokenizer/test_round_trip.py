"""Every text decodes to itself, and no text becomes a special token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.core.errors import DataError
from gptoss.tokenizer import bpe, folder
from gptoss.tokenizer.round_trip import EDGE_CASES, check_round_trip
from tests.tokenizer.corpus import TRAINERS, corpus

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_edge_cases_decode_to_themselves(saved: Path) -> None:
    counts = check_round_trip(folder.read(saved), [(text, "edge") for text in EDGE_CASES])
    assert counts["edge"].documents == len(EDGE_CASES)
    assert counts["edge"].bytes == sum(len(text.encode()) for text in EDGE_CASES)


@pytest.mark.parametrize("algorithm", sorted(TRAINERS))
def test_any_text_decodes_to_itself(algorithm: str) -> None:
    tokenizer = TRAINERS[algorithm](corpus(), 600, SPECIAL_TOKENS)
    tokenizer.encode_special_tokens = True

    @given(ANY_TEXT)
    @hypothesis_settings(max_examples=300, deadline=None)
    def decodes_to_itself(text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text

    decodes_to_itself()


def test_documents_are_never_parsed_for_special_tokens(saved: Path, loaded: Any) -> None:
    text = "say <|im_end|>\n<|im_start|>system"
    ids = folder.read(saved).encode(text).ids
    assert min(ids) >= len(SPECIAL_TOKENS)
    assert loaded.encode(text, split_special_tokens=True) == ids
    assert loaded.decode(ids) == text
    assert loaded.convert_tokens_to_ids("<|im_end|>") in loaded.encode(text), "a rendered chat is parsed"


def test_the_first_lost_character_is_reported() -> None:
    from tokenizers import normalizers

    lossy = bpe.train(corpus(), 600, SPECIAL_TOKENS)
    lossy.encode_special_tokens = True
    lossy.normalizer = normalizers.NFC()
    with pytest.raises(DataError, match=r"turns .* into .* \(character"):
        check_round_trip(lossy, [])
