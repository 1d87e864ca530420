"""Talk to the champion of the Instruct model in the terminal: `python -m gptoss.cli.chat [--model FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gptoss.core.errors import UserError
from gptoss.core.process import exit_code_of, set_quiet_env


def main(arguments: Sequence[str] | None = None) -> int:
    """Chat until end of input; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gptoss.cli.chat", description=__doc__)
    parser.add_argument("--model", type=Path, help="a published folder; default: what `make serve` serves")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    options = parser.parse_args(arguments)
    set_quiet_env()
    return exit_code_of(lambda: chat(options.model, options.max_new_tokens))


def chat(folder: Path | None, max_new_tokens: int) -> None:
    """Read a line, answer it, keep the conversation. Raises `UserError` when no model is there yet."""
    from gptoss.cli.serve import champion_folder

    folder = folder or champion_folder()
    if not (folder / "config.json").exists():
        raise UserError(f"there is no model in {folder}", "run `make run` first, or name a folder with --model")

    from transformers import AutoModelForCausalLM, AutoTokenizer, TextStreamer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    print(f"{folder}: write a line; Ctrl-D ends, an empty line starts afresh")
    messages: list[dict[str, str]] = []
    while (line := _read()) is not None:
        if not line:
            messages = []
            continue
        messages.append({"role": "user", "content": line})
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, streamer=streamer)
        answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        messages.append({"role": "assistant", "content": answer})


def _read() -> str | None:
    try:
        return input("> ").strip()
    except EOFError:
        print()
        return None


if __name__ == "__main__":
    sys.exit(main())
