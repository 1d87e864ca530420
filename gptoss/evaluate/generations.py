"""Texts that the model writes for prompts of the configuration: greedy, so that the same model writes the same text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from gptoss.config.tokenizer import MESSAGE_END
from gptoss.core.errors import UserError
from gptoss.core.progress import progress
from gptoss.evaluate.published_model import PublishedModel


class Prompt(NamedTuple):
    """Something to ask the model."""

    text: str
    ids: list[int]
    """Token ids of the text; of a question, in the chat template."""
    is_question: bool


def encode_all(
    model: PublishedModel, variant: str, prompts: Sequence[str], questions: Sequence[str], max_new_tokens: int
) -> list[Prompt]:
    """Every prompt and, for the Instruct model, every question. Raises `UserError` if one leaves no room for an
    answer."""
    encoded = [Prompt(text, model.tokenizer.encode(text), False) for text in prompts]
    if variant == "instruct":
        encoded += [Prompt(text, _encode_chat(model, text), True) for text in questions]
    for number, prompt in enumerate(encoded):
        key = f"questions[{number - len(prompts)}]" if prompt.is_question else f"prompts[{number}]"
        length = len(prompt.ids)
        if not length:
            raise UserError(f"evaluate.{key} has no tokens", "write some text there, or remove it")
        if length + max_new_tokens > model.context:
            raise UserError(
                f"evaluate.{key} has {length} tokens; {length} + evaluate.max_new_tokens"
                f"({max_new_tokens}) = {length + max_new_tokens} > model.context({model.context})",
                f"shorten it, or set evaluate.max_new_tokens to {max(1, model.context - length)} or less",
            )
    return encoded


def _encode_chat(model: PublishedModel, question: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    rendered = model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids: list[int] = model.tokenizer.encode(rendered)
    return ids


def generate(model: PublishedModel, prompts: Sequence[Prompt], max_new_tokens: int) -> dict[str, Any]:
    """`{"continuations": [{prompt, text, stopped}], "answers": [{question, answer, stopped}]}`; `stopped` tells
    whether the model ended by itself, with `<|endoftext|>` or `<|im_end|>`, before `max_new_tokens`."""
    texts: dict[str, Any] = {"continuations": [], "answers": []}
    for prompt in progress(prompts, "generations", unit="text"):
        text, stopped = _greedy(model, prompt, max_new_tokens)
        if prompt.is_question:
            texts["answers"].append({"question": prompt.text, "answer": text, "stopped": stopped})
        else:
            texts["continuations"].append({"prompt": prompt.text, "text": text, "stopped": stopped})
    return texts


def answer(model: PublishedModel, question: str, max_new_tokens: int) -> str:
    """The Instruct model's answer to one question."""
    return _greedy(model, Prompt(question, _encode_chat(model, question), True), max_new_tokens)[0]


def _greedy(model: PublishedModel, prompt: Prompt, max_new_tokens: int) -> tuple[str, bool]:
    """The generated text without the token that ended it, and whether there was one."""
    tokenizer = model.tokenizer
    stop = int(tokenizer.convert_tokens_to_ids(MESSAGE_END)) if prompt.is_question else model.end_of_text
    # A complete configuration: the published one may ask for sampling.
    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=stop, pad_token_id=tokenizer.pad_token_id
    )
    inputs = torch.tensor([prompt.ids], device=model.network.device)
    with torch.inference_mode():
        output = model.network.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=config)
    generated = output[0, len(prompt.ids) :].tolist()
    stopped = bool(generated) and generated[-1] == stop
    return tokenizer.decode(generated[:-1] if stopped else generated, skip_special_tokens=False), stopped
