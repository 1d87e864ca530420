"""Bits per byte: every token once, equal to scoring token by token."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gptoss.core import paths
from gptoss.core.errors import DataError
from gptoss.evaluate.bits_per_byte import (
    decode_text,
    held_out,
    negative_log_likelihood,
    ngram_baselines,
    sliding_windows,
)
from gptoss.evaluate.published_model import load
from gptoss.tables.token_files import TokenSplit
from tests.evaluate.conftest import CONTEXT, DOCUMENTS, publish, write_shards


@pytest.mark.parametrize("context", [1, 2, 3, 8, 9])
def test_windows_score_every_token_once_with_half_a_context_before_it(context: int) -> None:
    for length in range(40):
        scored: list[int] = []
        for window in sliding_windows(100, 100 + length, context):
            assert 0 < window.inputs <= context
            for place in range(window.first, window.inputs):
                target = window.start + place + 1
                scored.append(target)
                assert place + 1 >= min(target - 100, max(1, context - context // 2))
        assert scored == list(range(101, 100 + length))


def test_equals_scoring_token_by_token(checkout: Path) -> None:
    import torch

    write_shards()
    model = load(publish())
    validation = TokenSplit.open(paths.SHARDS, "validation")
    stride, total = CONTEXT // 2, 0.0
    for document in DOCUMENTS["validation"]:
        ids = [0, *model.tokenizer.encode(document)]
        for place in range(1, len(ids)):
            start = max(0, math.ceil((place - CONTEXT) / stride)) * stride
            with torch.inference_mode():
                logits = model.network(torch.tensor([ids[start:place]])).logits[0, -1]
            total -= float(torch.log_softmax(logits.double(), dim=-1)[ids[place]])
    assert max(len(model.tokenizer.encode(document)) for document in DOCUMENTS["validation"]) > CONTEXT + stride
    assert negative_log_likelihood(model, validation) == pytest.approx(total, rel=1e-6)


def test_counts_and_baselines(checkout: Path) -> None:
    write_shards()
    model = load(publish())
    train, validation = TokenSplit.open(paths.SHARDS, "train"), TokenSplit.open(paths.SHARDS, "validation")
    figures = held_out(model, train, validation, 1000)
    assert figures["bytes"] == sum(len(document.encode()) for document in DOCUMENTS["validation"])
    assert figures["tokens"] == sum(len(model.tokenizer.encode(document)) for document in DOCUMENTS["validation"])
    assert figures["model"] == pytest.approx(
        negative_log_likelihood(model, validation) / math.log(2) / figures["bytes"], abs=1e-6
    )
    assert set(figures["baselines"]) == {"unigram", "trigram", "fivegram"}
    assert figures["baselines"] != ngram_baselines(train, validation, model.tokenizer, 100)


def test_text_is_decoded_without_loss_and_limited(checkout: Path) -> None:
    write_shards()
    tokenizer = load(publish()).tokenizer
    everything = "".join(DOCUMENTS["train"]).encode()
    train = TokenSplit.open(paths.SHARDS, "train")
    assert decode_text(train, tokenizer) == everything
    assert decode_text(train, tokenizer, 100) == everything[:100]
    assert decode_text(train, tokenizer, 10**9) == everything


def test_another_tokenizer_than_the_shards_is_noticed(checkout: Path) -> None:
    write_shards()
    tokenizer = load(publish()).tokenizer
    index = paths.SHARDS / "index.json"
    index.write_text(index.read_text().replace(f'"bytes": {len("".join(DOCUMENTS["train"]).encode())}', '"bytes": 1'))
    with pytest.raises(DataError, match=r"index\.json counts 1"):
        decode_text(TokenSplit.open(paths.SHARDS, "train"), tokenizer)
