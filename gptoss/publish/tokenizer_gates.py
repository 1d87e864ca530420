"""What the published tokenizer must be able to do. Each check returns a count that must be within its bound, and what
was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.core.atomic_files import sha256_file
from gptoss.core.errors import DataError
from gptoss.tables.token_files import read_index

if TYPE_CHECKING:
    import torch

UNICODE_SAMPLES = (
    "The quick brown fox jumps over the lazy dog.",
    "  leading, trailing and   inner spaces  ",
    "tabs\tnewlines\n\n\r\nand\u00a0no-break spaces",
    "naïve café — “quotes”, ‘more’… 12,345.67 €",
    "Ελληνικά, кириллица, עברית, العربية, हिन्दी, 中文, 日本語, 한국어",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 ﷽ \u200b\u200d\ufeff \u0001\u007f",
    "def f(x):\n    return {'a': [1, 2]}  # code",
    "\U0010ffff\ue000\ufffd",
)


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer as users load it. Raises `DataError` when it does not load."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise whatever their parsers do
        raise DataError(
            f"{folder / 'tokenizer.json'} does not load: {type(error).__name__}: {error}",
            "remove data/tokenizer and run `dvc repro tokenizer`, which makes it again",
        ) from None


def as_trained(folder: Path, shards: Path) -> tuple[int, str]:
    """The model learned the token ids of one tokenizer: another one passes every other check and yields nonsense."""
    found, expected = sha256_file(folder / "tokenizer.json"), read_index(shards)["tokenizer_sha256"]
    if found == expected:
        return 0, "tokenizer.json is the one the shards were encoded with"
    return 1, f"tokenizer.json has sha256 {found[:12]}…, the shards were encoded with {expected[:12]}…"


def round_trips(folder: Path, windows: torch.Tensor) -> tuple[int, str]:
    """decode(encode(text)) == text, for difficult Unicode and for held-out text."""
    tokenizer = tokenizer_of(folder)
    texts = [*UNICODE_SAMPLES, *(tokenizer.decode(window, skip_special_tokens=True) for window in windows)]
    failed = [text for text in texts if tokenizer.decode(tokenizer(text)["input_ids"]) != text]
    return len(failed), f"tokenizer.json on {len(texts)} texts" + "".join(f"; {text!r}"[:60] for text in failed)


def chat_template_works(folder: Path) -> tuple[int, str]:
    """The template renders, opens the assistant's turn, and marks the answer with its closing token."""
    tokenizer = tokenizer_of(folder)
    question, answer = {"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Good day."}
    if tokenizer.chat_template is None:
        return 1, "there is no chat_template.jinja"
    prompt = tokenizer.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
    encoded = tokenizer.apply_chat_template(
        [question, answer], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    faults = [
        fault
        for fault, wrong in (
            ("the question is not in the prompt", question["content"] not in prompt),
            ("the prompt does not open the assistant's turn", not prompt.endswith("<|im_start|>assistant\n")),
            ("the marked tokens are not the answer", tokenizer.decode(marked) != answer["content"] + "<|im_end|>"),
        )
        if wrong
    ]
    return len(faults), "chat_template.jinja: " + ("; ".join(faults) or "renders, and marks what the assistant says")
