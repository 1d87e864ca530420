"""Training examples from conversations: token ids, and labels on the assistant's tokens alone.

The chat template marks what the assistant says with `{% generation %}`; only those tokens, the closing `<|im_end|>`
among them, have a label (as in Wang et al. 2023, Tülu). Without that mask a model learns to ask its own questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gptoss.core.errors import DataError
from gptoss.finetune.messages import Conversation

# The label that cross-entropy skips, PyTorch's default `ignore_index`.
IGNORED = -100

Example = dict[str, list[int]]
"""`input_ids` and `labels`, of equal length: a label is the token id at its own position, or `IGNORED`."""


@dataclass
class Examples:
    """Encoded conversations by split, and how many were cut or dropped."""

    train: list[Example] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    held_out_ids: list[str] = field(default_factory=list)
    truncated: int = 0
    """Conversations cut at `max_length`."""
    dropped: int = 0
    """Conversations, among the truncated ones, that lost every answer."""

    def counts(self) -> dict[str, int]:
        """Numbers of conversations and tokens for metrics."""
        return {
            "train": len(self.train),
            "held_out": len(self.held_out),
            "truncated": self.truncated,
            "dropped": self.dropped,
            "tokens": sum(len(example["input_ids"]) for example in self.train),
            "assistant_tokens": count_assistant_tokens(self.train),
        }


def count_assistant_tokens(examples: Iterable[Example]) -> int:
    """Tokens with a label."""
    return sum(label != IGNORED for example in examples for label in example["labels"])


def _split_key(seed: int, conversation_id: str) -> float:
    """A number in [0, 1); conversations below the held-out fraction are held out."""
    # A pure function of seed and id: added conversations move no other one between the splits.
    digest = hashlib.blake2b(f"{seed}:{conversation_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def encode(tokenizer: Any, conversation: Conversation, max_length: int) -> tuple[Example, bool]:
    """One example of at most `max_length` tokens, and whether it was cut. Raises `DataError` if the chat template marks
    no assistant tokens."""
    # The whole conversation in one call: encoded per message, tokens at the borders could differ from generation.
    encoded = tokenizer.apply_chat_template(
        conversation.chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = list(encoded["input_ids"]), list(encoded["assistant_masks"])
    if not any(mask):
        raise DataError(
            "the chat template of the base model marks no assistant tokens, so there is nothing to learn from",
            "wrap what the assistant says in {% generation %} … {% endgeneration %} in chat_template.jinja",
        )
    labels = [token if marked else IGNORED for token, marked in zip(ids, mask, strict=True)]
    return {"input_ids": ids[:max_length], "labels": labels[:max_length]}, len(ids) > max_length


def make_examples(
    tokenizer: Any, conversations: list[Conversation], *, max_length: int, fraction: float, seed: int
) -> Examples:
    """Encode and split. Raises `DataError` for fewer than two usable conversations."""
    examples = Examples()
    encoded: list[tuple[float, Conversation, Example]] = []
    for conversation in conversations:
        example, cut = encode(tokenizer, conversation, max_length)
        examples.truncated += cut
        # Without a label an example has no loss, and its batch could have none at all (0 / 0).
        if count_assistant_tokens([example]):
            encoded.append((_split_key(seed, conversation.id), conversation, example))
        else:
            examples.dropped += 1
    if len(encoded) < 2:
        raise DataError(
            f"{len(encoded)} of {len(conversations)} conversations fit instruct.max_length({max_length}); "
            "training and held-out data need one each",
            "raise instruct.max_length or add shorter conversations under instruct.data",
        )
    keys = sorted(key for key, _, _ in encoded)
    # Few conversations may hash to one side only. The boundary then moves so that each side gets one.
    boundary = min(max(fraction, keys[1]), keys[-1])
    for key, conversation, example in encoded:
        if key < boundary:
            examples.held_out.append(example)
            examples.held_out_ids.append(conversation.id)
        else:
            examples.train.append(example)
    return examples
