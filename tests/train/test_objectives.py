"""Objectives: what they keep of a window, and that their random draws depend only on seed and sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gptoss.config.extensions import OBJECTIVES, load
from gptoss.config.settings import Settings
from gptoss.config.tokenizer import FIM_TOKENS
from gptoss.core.errors import UserError
from gptoss.train.objectives import fill_in_the_middle
from gptoss.train.objectives.fill_in_the_middle import psm

END_OF_TEXT, PREFIX, MIDDLE, SUFFIX = 0, 4, 5, 6


@pytest.fixture
def fim(tiny: Callable[..., Settings]) -> Callable[[float], Settings]:
    return lambda rate: tiny(**{
        "pretrain.objective": "fill_in_the_middle", "pretrain.fim_rate": rate, "tokenizer.extra_tokens": FIM_TOKENS,
    })  # fmt: skip


def windows(count: int, length: int = 65) -> np.ndarray:
    """Random tokens in documents of some ten tokens; the first one begins before its window."""
    made = np.random.default_rng(0).integers(10, 300, (count, length))
    made[:, 7::10] = END_OF_TEXT
    return made


def original(document: np.ndarray) -> list[int]:
    """Undo `psm`."""
    tokens = document.tolist()
    at = [tokens.index(sentinel) for sentinel in (PREFIX, SUFFIX, MIDDLE)]
    head, prefix, suffix, middle = (
        tokens[: at[0]], tokens[at[0] + 1 : at[1]], tokens[at[1] + 1 : at[2]], tokens[at[2] + 1 :],
    )  # fmt: skip
    return head + prefix + middle + suffix


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_samples_do_not_depend_on_how_they_are_batched(objective: str, fim: Callable[[float], Settings]) -> None:
    samples = np.arange(40, 48)
    whole = load(OBJECTIVES, objective).examples(windows(8), samples, fim(0.5))
    for part in (slice(0, 3), slice(3, 8)):
        for one, all_ in zip(
            load(OBJECTIVES, objective).examples(windows(8)[part], samples[part], fim(0.5)), whole, strict=True
        ):
            assert np.array_equal(one, all_[part])


def test_targets_are_the_next_inputs(fim: Callable[[float], Settings]) -> None:
    inputs, targets = fill_in_the_middle.examples(windows(4), np.arange(4), fim(1.0))
    assert inputs.shape == targets.shape == (4, 64) and inputs.dtype == np.int64
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    other, _ = fill_in_the_middle.examples(windows(4), np.arange(1, 5), fim(1.0))
    assert not np.array_equal(inputs, other)


def test_a_rate_of_zero_is_plain_prediction(fim: Callable[[float], Settings]) -> None:
    inputs, _ = fill_in_the_middle.examples(windows(4), np.arange(4), fim(0.0))
    assert np.array_equal(inputs, windows(4)[:, :-1])


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_the_rate_is_the_share_of_documents_that_are_rearranged(rate: float, fim: Callable[[float], Settings]) -> None:
    inputs, _ = fill_in_the_middle.examples(windows(400), np.arange(400), fim(rate))
    documents = (inputs == END_OF_TEXT).sum() + 400
    assert abs((inputs == PREFIX).sum() / documents - rate) < 0.05


@pytest.mark.parametrize("tokens", [[END_OF_TEXT, 10, 11, 12, 13], [10, 11, 12], [END_OF_TEXT], [10]])
def test_a_document_is_reordered_and_nothing_of_it_is_lost(tokens: list[int]) -> None:
    document = np.array(tokens)
    seen = set()
    for seed in range(200):
        made = psm(document, END_OF_TEXT, [PREFIX, MIDDLE, SUFFIX], np.random.default_rng(seed))
        assert original(made) == tokens and len(made) == len(tokens) + 3
        seen.add(tuple(made))
    text = len(tokens) - (tokens[0] == END_OF_TEXT)
    assert len(seen) == (text + 1) * (text + 2) // 2  # every pair of cuts occurs


def test_the_sentinels_must_be_in_the_tokenizer(tiny: Callable[..., Settings]) -> None:
    with pytest.raises(UserError, match=r"no <\|fim_middle\|>, .*: add them to tokenizer.extra_tokens"):
        tiny(**{"pretrain.objective": "fill_in_the_middle"})
    with pytest.raises(UserError, match="'backwards': choose one of causal_lm, fill_in_the_middle"):
        tiny(**{"pretrain.objective": "backwards"})
