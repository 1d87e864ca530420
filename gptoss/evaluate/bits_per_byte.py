"""Held-out bits per byte of the whole validation split, and byte n-gram baselines on the same text.

Protocol: each document is scored by itself, with `<|endoftext|>` before it, in windows of the model's context that
advance by half of it. Every token of the text is scored exactly once, with at least half a context before it once
the document is that long. Bits per byte = the sum of -ln p over all tokens / (ln 2 x the UTF-8 bytes of the text);
unlike a loss per token, it does not depend on the tokenizer (Gao et al. 2020, "The Pile", section 3.1).

Shape suffixes: B windows, T positions, D hidden size, V padded vocabulary, N scored tokens of the batch.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gptoss.core import paths
from gptoss.core.errors import DataError
from gptoss.core.progress import progress
from gptoss.evaluate import ngrams
from gptoss.evaluate.published_model import PublishedModel
from gptoss.evaluate.statistics import DIGITS
from gptoss.tables.token_files import TokenSplit, read_index

# About the size of the float32 logits of one batch: small enough for a processor's caches, and never less than one
# window.
LOGITS_BYTES = 32 * 2**20
# Documents decoded in one call.
DOCUMENTS_AT_ONCE = 256
NGRAM_ORDERS = {"unigram": 1, "trigram": 3, "fivegram": 5}


class Window(NamedTuple):
    """A model call: inputs are the split's tokens from `start`, `inputs` of them; each predicts the token after it,
    and the predictions from `first` on are scored."""

    start: int
    inputs: int
    first: int


def sliding_windows(start: int, stop: int, context: int) -> Iterator[Window]:
    """The windows of one document that occupies `start:stop` of the split, its `<|endoftext|>` included."""
    predictions = stop - start - 1
    scored = 0
    for offset in range(0, max(predictions, 0), max(1, context // 2)):
        inputs = min(context, predictions - offset)
        yield Window(start + offset, inputs, scored - offset)
        scored = offset + inputs
        if scored == predictions:
            return


def negative_log_likelihood(model: PublishedModel, split: TokenSplit) -> float:
    """Sum of -ln p over every token of the split's documents, in nats."""
    offsets = split.offsets().tolist()
    windows = [w for start, stop in itertools.pairwise(offsets) for w in sliding_windows(start, stop, model.context)]
    # Windows of equal length share batches, so that little is padded. The order does not matter to `fsum`.
    windows.sort(key=lambda window: (-window.inputs, window.start))
    window_bytes = 4 * model.context * int(model.network.config.vocab_size)
    size = max(1, LOGITS_BYTES // window_bytes)
    batches = [windows[at : at + size] for at in range(0, len(windows), size)]
    with torch.inference_mode():
        sums = [
            total
            for batch in progress(batches, "bits per byte", unit="batch")
            for total in _score_batch(model, split, batch)
        ]
    return math.fsum(sums)


def _score_batch(model: PublishedModel, split: TokenSplit, batch: Sequence[Window]) -> list[float]:
    """-ln p of the scored tokens of each window."""
    width = batch[0].inputs
    # Padding is on the right, where a causal model cannot see it.
    tokens_BT = np.full((len(batch), width + 1), model.end_of_text, dtype=np.int64)
    scored_BT = np.zeros((len(batch), width), dtype=bool)
    for row, window in enumerate(batch):
        tokens_BT[row, : window.inputs + 1] = split[window.start : window.start + window.inputs + 1]
        scored_BT[row, window.first : window.inputs] = True
    tokens, scored = torch.from_numpy(tokens_BT), torch.from_numpy(scored_BT)
    inputs_BT = tokens[:, :-1].to(model.network.device)
    hidden_BTD = model.network.base_model(input_ids=inputs_BT, use_cache=False).last_hidden_state
    # The head is applied to scored positions only: overlapping windows score about half of their positions.
    logits_NV = model.network.lm_head(hidden_BTD[scored.to(hidden_BTD.device)]).float()
    targets_N = tokens[:, 1:][scored].to(logits_NV.device)
    losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    losses: npt.NDArray[np.float64] = losses_N.double().cpu().numpy()
    return [math.fsum(of_window) for of_window in np.split(losses, np.cumsum(scored_BT.sum(axis=1))[:-1])]


def decode_text(split: TokenSplit, tokenizer: Any, limit: int | None = None) -> bytes:
    """The text of the split's first documents, up to about `limit` bytes, decoded from its tokens.

    Raises `DataError` if the whole split does not decode to the number of bytes in its index."""
    offsets = split.offsets().tolist()
    texts: list[bytes] = []
    size = 0
    for at in range(0, len(offsets) - 1, DOCUMENTS_AT_ONCE):
        edges = offsets[at : at + DOCUMENTS_AT_ONCE + 1]
        # Each document begins with `<|endoftext|>`, which is not text.
        ids = [split[start + 1 : stop].tolist() for start, stop in itertools.pairwise(edges)]
        decoded = tokenizer.backend_tokenizer.decode_batch(ids, skip_special_tokens=False)
        texts += [document.encode("utf-8") for document in decoded]
        size = sum(map(len, texts))
        if limit is not None and size >= limit:
            return b"".join(texts)[:limit]
    if size != split.bytes:
        raise DataError(
            f"the {split.name} split decodes to {size} bytes; data/shards/index.json counts {split.bytes}",
            "the tokenizer of the published model is not the one of the shards: run `dvc repro`",
        )
    return b"".join(texts)


def ngram_baselines(train: TokenSplit, validation: TokenSplit, tokenizer: Any, train_bytes: int) -> dict[str, float]:
    """Bits per byte of byte n-gram models of order 1, 3 and 5, trained on up to `train_bytes` of the train split."""
    train_text, validation_text = decode_text(train, tokenizer, train_bytes), decode_text(validation, tokenizer)
    return {
        name: round(ngrams.bits_per_byte(train_text, validation_text, order), DIGITS)
        for name, order in progress(list(NGRAM_ORDERS.items()), "n-gram baselines", unit="model")
    }


def held_out(model: PublishedModel, train: TokenSplit, validation: TokenSplit, train_bytes: int) -> dict[str, Any]:
    """Bits per byte of the model and of the n-gram baselines. Raises `DataError` for an empty validation split."""
    if validation.bytes == 0:
        raise DataError("the validation split has no text", "raise shards.validation_fraction")
    nats = negative_log_likelihood(model, validation)
    return {
        "model": round(nats / (math.log(2) * validation.bytes), DIGITS),
        "tokens": validation.tokens - validation.documents,
        "bytes": validation.bytes,
        "protocol": f"documents alone after <|endoftext|>, windows of {model.context} tokens, stride "
        f"{max(1, model.context // 2)}, every token once, {model.arithmetic}",
        "baselines": ngram_baselines(train, validation, model.tokenizer, train_bytes),
    }


def measure(model: PublishedModel, train_bytes: int) -> dict[str, Any]:
    """The `bits_per_byte` part of `scores.json`, with the identity of the validation shards."""
    train, validation = TokenSplit.open(paths.SHARDS, "train"), TokenSplit.open(paths.SHARDS, "validation")
    # Promotion compares bits per byte of two models only if they were measured on the same shards.
    shards = [shard["sha256"] for shard in read_index(paths.SHARDS)["splits"]["validation"]["shards"]]
    identity = hashlib.sha256("\n".join(shards).encode()).hexdigest()
    return held_out(model, train, validation, train_bytes) | {"shards_sha256": identity}
