"""A shared prefix changes only how often the network reads a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lm_eval.models.huggingface import HFLM

from gptoss.evaluate.shared_prefix import (
    MIN_SAVED,
    ScoredSequence,
    SharedPrefixLM,
    common_prefix,
    group_by_prefix,
    unique_sequences,
)
from tests.evaluate.conftest import CONTEXT, make_network, make_tokenizer

EXAMPLES = list(range(10, 10 + 80))


def request(prompt: list[int], answer: list[int]) -> tuple[tuple[str, str], list[int], list[int]]:
    return (str(prompt), str(answer)), prompt, answer


def adapters(network: Any, batch_size: int) -> tuple[HFLM, SharedPrefixLM]:
    options = {"tokenizer": make_tokenizer(), "batch_size": batch_size, "max_length": CONTEXT}
    return HFLM(pretrained=network, **options), SharedPrefixLM(pretrained=network, **options)


REQUESTS: dict[str, list[Any]] = {
    "the same examples before all": [
        request([*EXAMPLES, 200 + n, 5], [300 + 4 * n + choice] * (1 + choice)) for n in range(6) for choice in range(4)
    ],
    "other examples before each": [
        request([100 + n, *EXAMPLES, 7], [250 + choice, 3 + n]) for n in range(5) for choice in range(4)
    ],
    "letters": [request([*EXAMPLES, 200 + n], [30 + choice]) for n in range(5) for choice in range(4)],
    "alone": [request([n, n + 1, 5 * n + 2][: 1 + n % 3], [n + 9, 4][: 1 + n % 2]) for n in range(20)],
    "cut to the context": [request(list(range(9, 9 + 150)), [300 + choice] * (1 + choice)) for choice in range(4)],
    "one is the beginning of another": [
        request(EXAMPLES, EXAMPLES[:length]) for length in (1, 2, 20, 40)
    ] + [request(EXAMPLES + EXAMPLES[:3], EXAMPLES[3:40])],
    "twice the same": [request(EXAMPLES, [5, 6])] * 3,
}  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("case", list(REQUESTS))
def test_answers_are_lm_evals(case: str, batch_size: int) -> None:
    """One request at a time: lm-eval 0.4.13 scores a request at the wrong tokens when another one has the same text,
    cut elsewhere into prompt and answer (the last case but one)."""
    stock, ours = adapters(make_network().float(), batch_size)
    theirs = [stock._loglikelihood_tokens([one], disable_tqdm=True)[0] for one in REQUESTS[case]]
    found = ours._loglikelihood_tokens(REQUESTS[case], disable_tqdm=True)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in theirs]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in theirs], abs=2e-5, rel=1e-6)


def test_a_certain_answer_is_greedy() -> None:
    """The comparison above would also pass if every value were False."""
    _, ours = adapters(make_network().float(), 4)
    import torch

    with torch.no_grad():
        best = int(ours.model(torch.tensor([EXAMPLES])).logits[0, -1].argmax())
    found = ours._loglikelihood_tokens([request(EXAMPLES, [best]), request(EXAMPLES, [best + 1])], disable_tqdm=True)
    assert [greedy for _, greedy in found] == [True, False]


@pytest.mark.parametrize(
    ("case", "most"),
    [("the same examples before all", 0.2), ("other examples before each", 0.35), ("letters", 0.15), ("alone", 1.0)],
)
def test_a_shared_prefix_is_read_once(case: str, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = adapters(make_network().float(), 8)
    read = 0
    forward: Callable[..., Any] = ours.model.base_model.forward

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal read
        read += options["input_ids"].numel()
        return forward(*arguments, **options)

    monkeypatch.setattr(ours.model.base_model, "forward", counting)
    ours._loglikelihood_tokens(REQUESTS[case], disable_tqdm=True)
    whole = sum(len(prompt) + len(answer) - 1 for _, prompt, answer in REQUESTS[case])
    assert read <= most * whole + 8 * 3


def test_groups_save_enough_tokens_and_hold_every_sequence() -> None:
    todo = unique_sequences([request for case in REQUESTS.values() for request in case], CONTEXT)
    found = list(group_by_prefix(todo))
    assert sorted(sequence.tokens for group in found for sequence in group.sequences) == sorted(
        sequence.tokens for sequence in todo
    )
    for group in found:
        beginning = group.sequences[0].tokens[: group.shared]
        assert all(
            sequence.tokens[: group.shared] == beginning and sequence.first >= group.shared
            for sequence in group.sequences
        )
        assert group.shared == 0 or (len(group.sequences) - 1) * group.shared >= MIN_SAVED
    short = [ScoredSequence((1, 2, 3, number), 3) for number in range(10)]
    assert [group.shared for group in group_by_prefix(short)] == [0]


def test_common_prefix() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2], [1, 2, 4]) == 2
    assert common_prefix([], [1]) == 0
