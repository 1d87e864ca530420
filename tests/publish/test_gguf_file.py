"""The GGUF file: it loads to the same logits, and unsupported models are rejected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import UserError
from tests.publish.toy import make_inputs, run_publish, toy_settings


def test_a_gguf_file_loads_back_to_the_same_logits(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_inputs()
    run_publish(toy_settings(settings_with, **{"publish.gguf": True}))
    folder = paths.published("20B", "base")
    file = "20B-F16.gguf"
    assert f"gguf/{file}" in (folder / "checksums.sha256").read_text()
    text = "The city of Rome is the capital of Italy."
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    back = AutoModelForCausalLM.from_pretrained(folder / "gguf", gguf_file=file, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, back(**inputs).logits)
    theirs = AutoTokenizer.from_pretrained(folder / "gguf", gguf_file=file)
    assert theirs.convert_ids_to_tokens(range(len(tokenizer))) == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert theirs.chat_template == tokenizer.chat_template


def test_what_gguf_cannot_hold_is_refused_before_any_work(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    settings = toy_settings(settings_with, **{"publish.gguf": True, "tokenizer.algorithm": "sentencepiece"})
    with pytest.raises(UserError, match=r"publish\.gguf is true and tokenizer\.algorithm is sentencepiece"):
        run_publish(settings)
