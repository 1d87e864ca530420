"""Small inputs of the tests that read chats."""

from __future__ import annotations

CONTROL = ("<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>")


def messages(*turns: str) -> dict[str, object]:
    """`user:Hi` … as OpenAI messages."""
    return {"messages": [dict(zip(("role", "content"), turn.split(":", 1), strict=True)) for turn in turns]}


def reply(rank: int, text: str, *replies: object) -> dict[str, object]:
    """A ranked reply of an OpenAssistant tree."""
    return {"role": "assistant", "text": text, "rank": rank, "replies": list(replies)}


def asked(text: str, *replies: object) -> dict[str, object]:
    """A message of the user in an OpenAssistant tree."""
    return {"role": "prompter", "text": text, "replies": list(replies)}
