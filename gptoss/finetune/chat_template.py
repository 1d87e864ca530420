"""The system prompt as a part of the chat template (`gptoss/tokenizer/chat_template.jinja`)."""

from __future__ import annotations

import json

from gptoss.config.tokenizer import MESSAGE_END, MESSAGE_START


def with_system_prompt(template: str, prompt: str) -> str:
    """The chat template, with `prompt` as the system message of a conversation that has none."""
    if not prompt:
        return template
    # As a JSON string: quotation marks and braces of the prompt are no syntax of the template.
    turn = json.dumps(f"{MESSAGE_START}system\n{prompt}{MESSAGE_END}\n", ensure_ascii=False)
    return f"{{%- if messages[0]['role'] != 'system' %}}\n    {{{{- {turn} }}}}\n{{%- endif %}}\n{template}"
