"""Talk to a published model in the terminal; by default to the champion of the Instruct model."""

from __future__ import annotations

import argparse
from pathlib import Path

from gptoss.cli.serve import champion_folder, require_model
from gptoss.core.process import set_quiet_env


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="a published folder; default: the model that `gptoss serve` serves")
    parser.add_argument("--max-new-tokens", type=int, default=128)


def execute(options: argparse.Namespace) -> None:
    """Chat until the end of the input."""
    set_quiet_env()
    chat(options.model or champion_folder(), options.max_new_tokens)


def chat(folder: Path, max_new_tokens: int) -> None:
    """Read a line, answer it, keep the conversation.

    Errors: `UserError` when the folder holds no model.
    """
    require_model(folder)

    # Imported after the check: loading transformers takes seconds.
    from transformers import AutoModelForCausalLM, AutoTokenizer, TextStreamer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Prints tokens as they come: a small model on a CPU still takes seconds for an answer.
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    print(f"{folder}: write a line; Ctrl-D ends, an empty line starts a new conversation")
    messages: list[dict[str, str]] = []
    while (line := _read_line()) is not None:
        if not line:
            messages = []
            continue
        messages.append({"role": "user", "content": line})
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        # Greedy, as the evaluation generates: what a person sees here is what was measured.
        output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, streamer=streamer)
        answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        # Decoded without the special tokens, which the chat template adds again around every message.
        messages.append({"role": "assistant", "content": answer})


def _read_line() -> str | None:
    try:
        return input("> ").strip()
    except EOFError:
        print()
        return None
