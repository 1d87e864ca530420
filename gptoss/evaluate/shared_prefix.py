"""lm-eval's adapter with one change: a beginning that many prompts share is computed once.

The answers of a many-shot question differ in their last few tokens after a thousand equal ones, and all questions of a
subject may stand after the same examples. Requests are sorted by their tokens; neighbours that share at least half of
their tokens form a group; the keys and values of the shared beginning are computed once (as in Pope et al. 2022,
section 3.5, for samples of one prompt) and every ending of the group is run after them, `batch_size` endings at a time.
Requests that share little run as in lm-eval, equal lengths together. Logits are made for scored tokens only.

Prompts, cuts to the context and scores are lm-eval's; log-likelihoods agree with its own to the rounding of float32
sums (`benchmarks/evaluate.py` measures both).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.models.huggingface import HFLM

MIN_SAVED = 128
"""Tokens that a shared beginning must save; below, one more call of the network costs more."""

Request = tuple[tuple[str, str], list[int], list[int]]
"""lm-eval's: the texts, the tokens of the prompt, the tokens of the answer."""


@dataclass(frozen=True)
class Row:
    """What the network reads once, for every request with these tokens (the letters A to D after one question)."""

    tokens: tuple[int, ...]
    """Prompt and answer without the answer's last token, cut on the left to the context."""
    first: int
    """The first position whose prediction is scored."""
    requests: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """Rows whose first `shared` tokens are the same."""

    shared: int
    rows: list[Row]


class SharedPrefixLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """`HFLM` for a causal model that takes `past_key_values`."""

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """`(ln p of the answer, whether it is what greedy decoding writes)` of each request."""
        from tqdm import tqdm

        answers: dict[int, tuple[float, bool]] = {}
        size = override_bs or int(self.batch_size)
        bar = tqdm(total=len(requests), disable=disable_tqdm or self.rank != 0, desc="Running loglikelihood requests")
        for group in groups(rows(requests, self.max_length)):
            past = self._keys_and_values(group) if group.shared else None
            for at in range(0, len(group.rows), size):
                batch = group.rows[at : at + size]
                for row, logits_SV in zip(batch, self._scored_logits(batch, group.shared, past), strict=True):
                    for number in row.requests:
                        answers[number] = self._answer(logits_SV, requests[number][2])
                        if requests[number][0] is not None:
                            self.cache_hook.add_partial("loglikelihood", requests[number][0], answers[number])
                    bar.update(len(row.requests))
        bar.close()
        return [answers[number] for number in range(len(requests))]

    def _keys_and_values(self, group: Group) -> Any:
        """The cache of the network after the shared beginning of a group, one row."""
        import torch

        tokens_BT = torch.tensor([group.rows[0].tokens[: group.shared]], device=self.device)
        with torch.inference_mode():
            return self.model.base_model(input_ids=tokens_BT, use_cache=True).past_key_values

    def _scored_logits(self, batch: Sequence[Row], shared: int, past: Any | None) -> list[Any]:
        """Log-probabilities `[scored tokens, vocabulary]` of each row, in `softmax_dtype`. Padding stands on the right,
        where a causal model cannot see it."""
        import torch

        width = max(len(row.tokens) for row in batch) - shared
        tokens_BT = torch.zeros(len(batch), width, dtype=torch.long)
        scored_BT = torch.zeros(len(batch), width, dtype=torch.bool)
        for number, row in enumerate(batch):
            length = len(row.tokens) - shared
            tokens_BT[number, :length] = torch.tensor(row.tokens[shared:])
            scored_BT[number, row.first - shared : length] = True
        with torch.inference_mode():
            hidden_BTH = self.model.base_model(
                input_ids=tokens_BT.to(self.device),
                past_key_values=None if past is None else repeated(past, len(batch)),
                use_cache=past is not None,
            ).last_hidden_state
            logits_SV = self.model.get_output_embeddings()(hidden_BTH[scored_BT.to(hidden_BTH.device)])
            logprobs_SV = torch.nn.functional.log_softmax(logits_SV, dim=-1, dtype=self.softmax_dtype)
        return list(logprobs_SV.split(scored_BT.sum(dim=1).tolist()))

    def _answer(self, logprobs_SV: Any, answer: list[int]) -> tuple[float, bool]:
        import torch

        targets_S = torch.tensor(answer, device=logprobs_SV.device)
        last_SV = logprobs_SV[-len(answer) :]
        likelihood = last_SV.gather(1, targets_S[:, None]).sum()
        return float(likelihood), bool((last_SV.argmax(dim=-1) == targets_S).all())


def rows(requests: Sequence[Request], max_length: int) -> list[Row]:
    """What the network must read, each once. An overlong prompt is cut on the left, as in lm-eval."""
    found: dict[tuple[int, ...], Row] = {}
    for number, (_, prompt, answer) in enumerate(requests):
        tokens = tuple((prompt + answer)[-(max_length + 1) :][:-1])
        first = len(tokens) - len(answer)
        row = found.get(tokens)
        if row is None or first < row.first:
            row = found[tokens] = Row(tokens, first, row.requests if row else [])
        row.requests.append(number)
    return list(found.values())


def groups(todo: Sequence[Row]) -> Iterator[Group]:
    """Rows that share a beginning worth computing once, then all others together, the longest first."""
    ordered = sorted(todo, key=lambda row: row.tokens)
    alone: list[Row] = []
    at = 0
    while at < len(ordered):
        start, shared = at, ordered[at].first
        while at + 1 < len(ordered):
            following = ordered[at + 1]
            common = min(shared, following.first, common_prefix(ordered[start].tokens, following.tokens))
            if 2 * common < len(following.tokens):
                break
            shared, at = common, at + 1
        at += 1
        if (at - start - 1) * shared >= MIN_SAVED:
            yield Group(shared, ordered[start:at])
        else:
            alone += ordered[start:at]
    if alone:
        yield Group(0, sorted(alone, key=lambda row: (-len(row.tokens), row.tokens)))


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first tokens are the same."""
    return next((at for at, (left, right) in enumerate(zip(a, b, strict=False)) if left != right), min(len(a), len(b)))


def repeated(past: Any, times: int) -> Any:
    """A cache with the one row of `past` in `times` rows; `past` stays as it is."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for number, layer in enumerate(past.layers):
        cache.update(layer.keys.expand(times, -1, -1, -1), layer.values.expand(times, -1, -1, -1), number)
    return cache
