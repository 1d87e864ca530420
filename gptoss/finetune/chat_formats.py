"""Parse one line of a chat file: OpenAI messages, ShareGPT, Alpaca/Dolly or an OpenAssistant tree.

The format is detected line by line. The result is an optional system message, then user and assistant in turn, ending
with assistant, as `messages.normalize_messages` checks it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from gptoss.finetune.messages import LineError, Message, normalize_messages

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
FORMATS = (
    '{"messages": [{"role": "user", "content": …}, …]}, '
    '{"conversations": [{"from": "human", "value": …}, …]} or '
    '{"instruction": …, "input": …, "output": …}'
)


def parse_line(line: bytes, special_tokens: Collection[str]) -> tuple[str | None, tuple[Message, ...]]:
    """The line's own id, if it has one, and its messages. Raises `LineError`."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineError("not UTF-8", str(error)) from None
    except (ValueError, RecursionError) as error:  # brackets may be nested deeper than the parser can follow
        raise LineError("not JSON", str(error)) from None
    if not isinstance(row, dict):
        raise LineError("not an object", f"a JSON {type(row).__name__}")
    own_id = row.get("id", row.get("message_tree_id"))
    messages = normalize_messages(_messages(row), special_tokens)
    # An id appears in records and in the hash that splits off held-out conversations, so it has to be printable text.
    usable = isinstance(own_id, str | int) and not isinstance(own_id, bool) and str(own_id).isprintable()
    return (str(own_id) if usable and str(own_id) else None), messages


def _messages(row: dict[str, Any]) -> list[Message]:
    """Detect the format of a JSON object and read its messages."""
    for key in ("messages", "conversations"):
        if key in row:
            if not isinstance(row[key], list):
                raise LineError("wrong type", f"{key} is a {type(row[key]).__name__}, not a list")
            return [_message(item) for item in row[key]]
    if "instruction" in row:
        return _instruction(row)
    if isinstance(row.get("prompt"), dict):
        return _best_path(row["prompt"])
    raise LineError("unknown format", f"keys {sorted(map(str, row))[:8]}; expected {FORMATS}")


def _message(item: Any) -> Message:
    """An OpenAI ({role, content}) or ShareGPT ({from, value}) message."""
    if not isinstance(item, dict):
        raise LineError("wrong type", f"a message is a {type(item).__name__}, not an object")
    role = item.get("role", item.get("from"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise LineError("unknown role", f"{role!r}; known: {', '.join(ROLES)}")
    return ROLES[role.lower()], _text(item.get("content", item.get("value")))


def _text(content: Any) -> str:
    """Plain text, or the joined text of OpenAI content parts, if all of them are text."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(_text(part.get("text")) for part in content)
    if not isinstance(content, str):
        raise LineError("wrong type", f"content is {json.dumps(content)[:60]}, not text")
    return content


def _instruction(row: dict[str, Any]) -> list[Message]:
    """Alpaca (input, output) or Dolly (context, response). The input follows the instruction after a blank line."""
    context = _text(row.get("input", row.get("context")) or "").strip()
    question = _text(row["instruction"]).strip()
    answer = row.get("output", row.get("response"))
    if answer is None:
        raise LineError("no answer", "neither output nor response")
    return [("user", f"{question}\n\n{context}" if context else question), ("assistant", _text(answer))]


def _best_path(node: dict[str, Any]) -> list[Message]:
    """The path of an OpenAssistant tree along its best-ranked replies; replies without a rank come last."""
    messages: list[Message] = []
    while True:
        messages.append(_message({"role": node.get("role"), "content": node.get("text")}))
        replies = [reply for reply in node.get("replies") or [] if isinstance(reply, dict)]
        if not replies:
            return messages
        node = min(replies, key=lambda reply: reply["rank"] if isinstance(reply.get("rank"), int) else len(replies))
