"""lm-eval's adapter with one change: a prefix that many prompts share is computed once.

The answers of a many-shot question differ in their last few tokens after a thousand equal ones, and all questions of a
subject may follow the same examples. Requests are sorted by their tokens; neighbours that share at least half of their
tokens form a group; the keys and values of the shared prefix are computed once, as serving systems do (Kwon et al.
2023, PagedAttention; Juravsky et al. 2024, Hydragen), and every suffix of the group is run after them, `batch_size`
suffixes at a time. Requests that share little run as in lm-eval, equal lengths together. Logits are computed for scored
tokens only.

Prompts, cuts to the context and scores are lm-eval's; log-likelihoods agree with its own up to the rounding of float32
sums (`benchmarks/evaluate.py` measures both).

Shape suffixes: B sequences, T positions, D hidden size, V padded vocabulary, N scored tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm
from transformers import DynamicCache

# Tokens that a shared prefix must save; for fewer, the additional call of the network costs more.
MIN_SAVED = 128

Request = tuple[tuple[str, str], list[int], list[int]]
"""lm-eval's: the texts, the tokens of the prompt, the tokens of the answer."""


@dataclass(frozen=True)
class ScoredSequence:
    """Tokens that the network reads once for every request that has them (the letters A to D after one question)."""

    tokens: tuple[int, ...]
    """Prompt and answer without the answer's last token, cut on the left to the context."""
    first: int
    """The first position whose prediction is scored."""
    requests: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class PrefixGroup:
    """Sequences whose first `shared` tokens are the same."""

    shared: int
    sequences: list[ScoredSequence]


class SharedPrefixLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """`HFLM` for a causal model that takes `past_key_values`."""

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """`(ln p of the answer, whether greedy decoding writes it)` of each request."""
        results: dict[int, tuple[float, bool]] = {}
        size = override_bs or int(self.batch_size)
        bar = tqdm(total=len(requests), disable=disable_tqdm or self.rank != 0, desc="Running loglikelihood requests")
        for group in group_by_prefix(unique_sequences(requests, self.max_length)):
            past = self._compute_prefix(group) if group.shared else None
            for at in range(0, len(group.sequences), size):
                batch = group.sequences[at : at + size]
                logprobs = self._scored_logprobs(batch, group.shared, past)
                for sequence, logprobs_NV in zip(batch, logprobs, strict=True):
                    for number in sequence.requests:
                        results[number] = self._score_answer(logprobs_NV, requests[number][2])
                        if requests[number][0] is not None:
                            self.cache_hook.add_partial("loglikelihood", requests[number][0], results[number])
                    bar.update(len(sequence.requests))
        bar.close()
        return [results[number] for number in range(len(requests))]

    def _compute_prefix(self, group: PrefixGroup) -> Any:
        """The key-value cache of the network after the shared prefix of a group, batch size 1."""
        tokens_BT = torch.tensor([group.sequences[0].tokens[: group.shared]], device=self.device)
        with torch.inference_mode():
            return self.model.base_model(input_ids=tokens_BT, use_cache=True).past_key_values

    def _scored_logprobs(self, batch: Sequence[ScoredSequence], shared: int, past: Any | None) -> list[Any]:
        """Log-probabilities [scored tokens, vocabulary] of each sequence, in `softmax_dtype`."""
        width = max(len(sequence.tokens) for sequence in batch) - shared
        # Padding is on the right, where a causal model cannot see it, so that no attention mask is needed.
        tokens_BT = torch.zeros(len(batch), width, dtype=torch.long)
        scored_BT = torch.zeros(len(batch), width, dtype=torch.bool)
        for number, sequence in enumerate(batch):
            length = len(sequence.tokens) - shared
            tokens_BT[number, :length] = torch.tensor(sequence.tokens[shared:])
            scored_BT[number, sequence.first - shared : length] = True
        with torch.inference_mode():
            hidden_BTD = self.model.base_model(
                input_ids=tokens_BT.to(self.device),
                past_key_values=None if past is None else repeat_cache(past, len(batch)),
                use_cache=past is not None,
            ).last_hidden_state
            logits_NV = self.model.get_output_embeddings()(hidden_BTD[scored_BT.to(hidden_BTD.device)])
            logprobs_NV = torch.nn.functional.log_softmax(logits_NV, dim=-1, dtype=self.softmax_dtype)
        return list(logprobs_NV.split(scored_BT.sum(dim=1).tolist()))

    def _score_answer(self, logprobs_NV: Any, answer: list[int]) -> tuple[float, bool]:
        targets_N = torch.tensor(answer, device=logprobs_NV.device)
        # A sequence is scored from the earliest answer of its requests; a shorter answer is its last tokens.
        answer_NV = logprobs_NV[-len(answer) :]
        likelihood = answer_NV.gather(1, targets_N[:, None]).sum()
        return float(likelihood), bool((answer_NV.argmax(dim=-1) == targets_N).all())


def unique_sequences(requests: Sequence[Request], max_length: int) -> list[ScoredSequence]:
    """What the network must read, each sequence once. A prompt that is too long is cut on the left, as in lm-eval."""
    sequences: dict[tuple[int, ...], ScoredSequence] = {}
    for number, (_, prompt, answer) in enumerate(requests):
        tokens = tuple((prompt + answer)[-(max_length + 1) :][:-1])
        first = len(tokens) - len(answer)
        known = sequences.get(tokens)
        if known is None or first < known.first:
            known = sequences[tokens] = ScoredSequence(tokens, first, known.requests if known else [])
        known.requests.append(number)
    return list(sequences.values())


def group_by_prefix(sequences: Sequence[ScoredSequence]) -> Iterator[PrefixGroup]:
    """Groups that share a prefix worth computing once, then all other sequences together, the longest first."""
    ordered = sorted(sequences, key=lambda sequence: sequence.tokens)
    alone: list[ScoredSequence] = []
    at = 0
    while at < len(ordered):
        # A prefix ends before the first scored position of every member: scored tokens must be in the suffix.
        start, shared = at, ordered[at].first
        while at + 1 < len(ordered):
            following = ordered[at + 1]
            common = min(shared, following.first, common_prefix(ordered[start].tokens, following.tokens))
            # A greedy rule: a neighbour that shares less than half would shorten the prefix of the whole group.
            if 2 * common < len(following.tokens):
                break
            shared, at = common, at + 1
        at += 1
        if (at - start - 1) * shared >= MIN_SAVED:
            yield PrefixGroup(shared, ordered[start:at])
        else:
            alone += ordered[start:at]
    if alone:
        # Longest first: a batch that does not fit in memory fails at once, and equal lengths need little padding.
        yield PrefixGroup(0, sorted(alone, key=lambda sequence: (-len(sequence.tokens), sequence.tokens)))


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """The number of first tokens that are the same."""
    return next((at for at, (left, right) in enumerate(zip(a, b, strict=False)) if left != right), min(len(a), len(b)))


def repeat_cache(past: Any, times: int) -> Any:
    """A cache with the only row of `past` repeated `times`."""
    # A new cache per batch: the network appends to the one it is given, and `past` serves the next batch too.
    cache = DynamicCache()
    for number, layer in enumerate(past.layers):
        cache.update(layer.keys.expand(times, -1, -1, -1), layer.values.expand(times, -1, -1, -1), number)
    return cache
