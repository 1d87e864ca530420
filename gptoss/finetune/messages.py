"""Conversations as messages, and the checks that every one of them passes before it is trained on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

Message = tuple[str, str]
"""Role (system, user or assistant) and content."""


class LineError(Exception):
    """Why a line or a conversation is rejected."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail[:200]


@dataclass(frozen=True)
class Conversation:
    """`id` is the line's own id if it has one, else a hash of the messages."""

    id: str
    messages: tuple[Message, ...]

    @classmethod
    def exchange(cls, name: str, question: str, answer: str) -> Conversation:
        """One question with its answer."""
        return cls(name, (("user", question), ("assistant", answer)))

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages as chat templates take them."""
        return [{"role": role, "content": content} for role, content in self.messages]

    def validated(self, special_tokens: Collection[str]) -> Conversation:
        """The conversation with normalized messages. Raises `LineError`."""
        return Conversation(self.id, normalize_messages(list(self.messages), special_tokens))


@dataclass(frozen=True)
class Rejected:
    """A line that could not be used, and why."""

    file: str
    line: int
    """Line number, counted from 1; 0 for a document that is not read by lines."""
    reason: str
    detail: str

    @classmethod
    def because(cls, error: LineError, file: str, line: int = 0) -> Rejected:
        """The record of an error."""
        return cls(file, line, error.reason, error.detail)


def normalize_messages(messages: list[Message], special_tokens: Collection[str]) -> tuple[Message, ...]:
    """Strip the messages, drop those after the last answer, and check order and content. Raises `LineError`."""
    while messages and messages[-1][0] != "assistant":
        messages = messages[:-1]
    if not messages:
        raise LineError("no answer", "no message of the assistant")
    stripped = tuple((role, content.strip()) for role, content in messages)
    turns = [role for role, _ in stripped]
    turns = turns[1:] if turns[0] == "system" else turns
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        raise LineError("roles out of order", ", ".join(role for role, _ in stripped[:8]))
    for role, content in stripped:
        if not content:
            raise LineError("empty message", f"of the {role}")
        # Tokenized, a text that spells `<|im_end|>` would end its message and could forge the next turn.
        if token := next((token for token in special_tokens if token in content), None):
            raise LineError("control token", f"the {role} spells out {token}")
        try:
            content.encode("utf-8")
        except UnicodeEncodeError as error:  # JSON may contain half of a surrogate pair
            raise LineError("not Unicode", str(error)) from None
    return stripped
