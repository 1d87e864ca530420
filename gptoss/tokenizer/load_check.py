"""Check that transformers loads a tokenizer folder as intended, including the mask of the assistant's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptoss.config.tokenizer import MESSAGE_END, SPECIAL_TOKENS
from gptoss.core.errors import DataError

# Messages with white space at both ends, a line that looks like a list, an emoji of two code points, and empty ones:
# each has produced a token that spans the boundary of a message.
CONVERSATION = (
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": "\nWhat is  2+2?"},
    {"role": "assistant", "content": "\n\n  4.\n\nReally: 4"},
    {"role": "user", "content": "And the capital of France?"},
    {"role": "assistant", "content": "Paris\u2014\U0001f1eb\U0001f1f7 "},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": ""},
)


def check_loads(folder: Path, context: int) -> None:
    """Load the folder as a user would and compare special tokens, context length, a text and the assistant mask.

    Errors: `DataError` with the first property that differs, its value and the expected one.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    answers = [turn["content"].strip() + MESSAGE_END for turn in CONVERSATION if turn["role"] == "assistant"]
    properties: dict[str, tuple[Any, Any]] = {
        "the ids of the special tokens": (tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS), [0, 1, 2, 3]),
        "bos, eos and pad": ((tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id), (0, 0, 1)),
        "model_max_length": (tokenizer.model_max_length, context),
        "a text after encoding and decoding": (tokenizer.decode(tokenizer.encode(" A b\n")), " A b\n"),
        "the text under the assistant's mask": (assistant_texts(tokenizer, CONVERSATION), answers),
    }
    for name, (found, expected) in properties.items():
        if found != expected:
            raise DataError(
                f"{folder}, loaded by transformers: {name}: {found!r}, not {expected!r}",
                "install the versions of requirements.lock; if they are installed, report this as a bug",
            )


def assistant_texts(tokenizer: Any, conversation: Iterable[Mapping[str, str]]) -> list[str]:
    """Decode each run of tokens that the chat template marks as the assistant's."""
    encoded = tokenizer.apply_chat_template(list(conversation), return_assistant_tokens_mask=True, return_dict=True)
    runs: list[list[int]] = [[]]
    for token, is_assistant in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True):
        if is_assistant:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]
