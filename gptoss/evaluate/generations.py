"""What the model writes when asked as a user would ask it: greedy, so that the same model gives the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gptoss.core.errors import UserError
from gptoss.core.progress import progress
from gptoss.evaluate.published_model import PublishedModel

END_OF_TURN = "<|im_end|>"


def encode_all(
    model: PublishedModel, head: str, prompts: Sequence[str], questions: Sequence[str], max_new_tokens: int
) -> dict[str, list[list[int]]]:
    """Token ids of every prompt and, for the Instruct model, of every question in the chat template.

    Raises `UserError` when one leaves no room for an answer."""
    chats = [] if head == "base" else [_chat(model, question) for question in questions]
    encoded = {"prompts": [model.tokenizer.encode(prompt) for prompt in prompts], "questions": chats}
    for key, many in encoded.items():
        for number, ids in enumerate(many):
            if not ids:
                raise UserError(f"evaluate.{key}[{number}] has no tokens", "write some text there, or remove it")
            if len(ids) + max_new_tokens > model.context:
                raise UserError(
                    f"evaluate.{key}[{number}] has {len(ids)} tokens; {len(ids)} + evaluate.max_new_tokens"
                    f"({max_new_tokens}) = {len(ids) + max_new_tokens} > model.context({model.context})",
                    f"shorten it, or set evaluate.max_new_tokens to {max(1, model.context - len(ids))} or less",
                )
    return encoded


def _chat(model: PublishedModel, question: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    rendered = model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids: list[int] = model.tokenizer.encode(rendered)
    return ids


def generate(
    model: PublishedModel,
    prompts: Sequence[str],
    questions: Sequence[str],
    encoded: dict[str, list[list[int]]],
    max_new_tokens: int,
) -> dict[str, Any]:
    """`{"continuations": [{prompt, text, stopped}], "answers": [{question, answer, stopped}]}`; `stopped` is whether
    the model ended by itself, with `<|endoftext|>` or `<|im_end|>`, before `max_new_tokens`."""
    end_of_turn = int(model.tokenizer.convert_tokens_to_ids(END_OF_TURN))
    work = [("continuations", prompt, ids) for prompt, ids in zip(prompts, encoded["prompts"], strict=True)]
    if encoded["questions"]:
        work += [("answers", question, ids) for question, ids in zip(questions, encoded["questions"], strict=True)]
    written: dict[str, Any] = {"continuations": [], "answers": []}
    for kind, asked, ids in progress(work, "generations", unit="text"):
        stop = model.end_of_text if kind == "continuations" else end_of_turn
        text, stopped = _greedy(model, ids, stop, max_new_tokens)
        keys = ("prompt", "text") if kind == "continuations" else ("question", "answer")
        written[kind].append({keys[0]: asked, keys[1]: text, "stopped": stopped})
    return written


def answer(model: PublishedModel, question: str, max_new_tokens: int) -> tuple[str, bool]:
    """The Instruct model's answer to one question, and whether it stopped by itself."""
    end_of_turn = int(model.tokenizer.convert_tokens_to_ids(END_OF_TURN))
    return _greedy(model, _chat(model, question), end_of_turn, max_new_tokens)


def _greedy(model: PublishedModel, ids: list[int], stop: int, max_new_tokens: int) -> tuple[str, bool]:
    import torch
    from transformers import GenerationConfig

    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=stop, pad_token_id=model.tokenizer.pad_token_id
    )
    inputs = torch.tensor([ids], device=model.network.device)
    with torch.inference_mode():
        output = model.network.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=config)
    new = output[0, len(ids) :].tolist()
    stopped = bool(new) and new[-1] == stop
    return model.tokenizer.decode(new[:-1] if stopped else new, skip_special_tokens=False), stopped
