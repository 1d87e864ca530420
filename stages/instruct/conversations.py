"""Read conversations from JSON lines: OpenAI messages, ShareGPT, Alpaca/Dolly and OpenAssistant trees.

In: UTF-8 files, one JSON object a line; the format is detected line by line. Out: `Conversation`s whose
messages are an optional system message, then user and assistant in turn, ending with assistant.

A bad line is skipped and kept as `Rejected` with file, line, reason and detail; a file of which more than
`MAX_REJECT_FRACTION` is bad, or nothing is good, is a `DataError`. A line that spells out a control token of
the chat format (`<|im_end|>` …) is bad: tokenised, it would forge a turn.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import DataError, UserError

SHIPPED = Path("stages/instruct/conversations.jsonl")
"""The conversations written for this project; see CONVERSATIONS.md beside it."""
MAX_REJECT_FRACTION = 0.2
MAX_LINE_BYTES = 16 * 2**20

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

Message = tuple[str, str]
"""Role (system, user or assistant) and content."""


@dataclass(frozen=True)
class Conversation:
    """`id` is the line's own id where it has one, else a hash of the messages."""

    id: str
    messages: tuple[Message, ...]

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages as chat templates take them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class Rejected:
    """A line that could not be used, and why."""

    file: str
    line: int
    reason: str
    detail: str


@dataclass
class Corpus:
    """All conversations in file order, what was rejected, and lines by file and outcome."""

    conversations: list[Conversation] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    files: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over ids and messages: the identity of the training data."""
        digest = hashlib.sha256()
        for conversation in self.conversations:
            digest.update(json.dumps([conversation.id, conversation.messages]).encode())
        return digest.hexdigest()


class LineError(Exception):
    """Why a line is rejected."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail[:200]


def read_corpus(patterns: Sequence[str], control_tokens: Collection[str]) -> Corpus:
    """The shipped conversations and those of every file that matches `patterns`, in sorted order.

    A conversation seen before is left out as `duplicate`. Raises `UserError` for a pattern that matches no
    file and `DataError` for a file with too many bad lines.
    """
    corpus = Corpus()
    seen: set[tuple[Message, ...]] = set()
    names: set[str] = set()
    for path in [SHIPPED, *expand(patterns)]:
        outcomes: Counter[str] = Counter()
        for number, line in _lines(_located(path)):
            try:
                if line is None:
                    raise LineError("line too long", f"more than {MAX_LINE_BYTES} bytes")
                own_id, messages = parse_line(line, control_tokens)
                if messages in seen:
                    raise LineError("duplicate")
            except LineError as bad:
                outcomes["duplicate" if bad.reason == "duplicate" else "rejected"] += 1
                corpus.rejected.append(Rejected(str(path), number, bad.reason, bad.detail))
                continue
            outcomes["used"] += 1
            seen.add(messages)
            corpus.conversations.append(Conversation(_unique(own_id, messages, names), messages))
        _check_outcomes(path, outcomes, corpus.rejected)
        corpus.files[str(path)] = {key: outcomes[key] for key in ("used", "duplicate", "rejected")}
    return corpus


def expand(patterns: Sequence[str]) -> list[Path]:
    """The files that the globs match, each once, sorted within a pattern."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        matches = [Path(name) for name in sorted(names) if Path(name).is_file()]
        if not matches:
            raise UserError(
                f"instruct.data: {pattern!r} matches no file",
                f"give the path of a JSON lines file, relative to {Path.cwd()}, or a glob such as my-chats/*.jsonl",
            )
        found |= dict.fromkeys(matches)
    return list(found)


def parse_line(line: bytes, control_tokens: Collection[str]) -> tuple[str | None, tuple[Message, ...]]:
    """One line to (its own id, messages). Raises `LineError`."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineError("not UTF-8", str(error)) from None
    except (ValueError, RecursionError) as error:
        raise LineError("not JSON", str(error)) from None
    if not isinstance(row, dict):
        raise LineError("not an object", f"a JSON {type(row).__name__}")
    own_id = row.get("id", row.get("message_tree_id"))
    messages = _normalised(_messages(row), control_tokens)
    usable = isinstance(own_id, str | int) and not isinstance(own_id, bool) and str(own_id).isprintable()
    return (str(own_id) if usable and str(own_id) else None), messages


def _messages(row: dict[str, Any]) -> list[Message]:
    """Detect the format of a row and read its messages."""
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
    """Plain text, or a list of OpenAI content parts that are all text."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(_text(part.get("text")) for part in content)
    if not isinstance(content, str):
        raise LineError("wrong type", f"content is {json.dumps(content)[:60]}, not text")
    return content


def _instruction(row: dict[str, Any]) -> list[Message]:
    """Alpaca (input, output) or Dolly (context, response); the input follows the instruction after a blank line."""
    context = _text(row.get("input", row.get("context")) or "").strip()
    question = _text(row["instruction"]).strip()
    answer = row.get("output", row.get("response"))
    if answer is None:
        raise LineError("no answer", "neither output nor response")
    return [("user", f"{question}\n\n{context}" if context else question), ("assistant", _text(answer))]


def _best_path(node: dict[str, Any]) -> list[Message]:
    """An OpenAssistant tree along its best ranked replies."""
    messages: list[Message] = []
    while True:
        messages.append(_message({"role": node.get("role"), "content": node.get("text")}))
        replies = [reply for reply in node.get("replies") or [] if isinstance(reply, dict)]
        if not replies:
            return messages
        node = min(replies, key=lambda reply: reply["rank"] if isinstance(reply.get("rank"), int) else len(replies))


def _normalised(messages: list[Message], control_tokens: Collection[str]) -> tuple[Message, ...]:
    """Strip, cut what follows the last answer, and check order and content."""
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
        if token := next((token for token in control_tokens if token in content), None):
            raise LineError("control token", f"the {role} spells out {token}")
        try:
            content.encode("utf-8")
        except UnicodeEncodeError as error:
            raise LineError("not Unicode", str(error)) from None
    return stripped


def _unique(own_id: str | None, messages: tuple[Message, ...], names: set[str]) -> str:
    """The line's own id, made unique by a hash of the messages where it is missing or taken."""
    digest = hashlib.blake2b(json.dumps(messages).encode(), digest_size=16).hexdigest()
    name = own_id if own_id and own_id not in names else f"{own_id}-{digest}" if own_id else digest
    names.add(name)
    return name


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Numbered non-blank lines without a byte order mark; None stands for a line above `MAX_LINE_BYTES`."""
    with open(path, "rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            too_long = len(line) > MAX_LINE_BYTES
            while too_long and line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE_BYTES)
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if too_long:
                yield number, None
            elif line.strip():
                yield number, line


def _located(path: Path) -> Path:
    """The shipped file stands beside this module, whatever the working directory."""
    return Path(__file__).with_name(SHIPPED.name) if path == SHIPPED else path


def _check_outcomes(path: Path, outcomes: Counter[str], rejected: list[Rejected]) -> None:
    bad, lines = outcomes["rejected"], outcomes.total()
    if lines == 0:
        raise DataError(f"{path} holds no line", f"write one JSON object a line: {FORMATS}")
    if bad <= MAX_REJECT_FRACTION * lines:
        return
    first = [item for item in rejected if item.file == str(path) and item.reason != "duplicate"][:3]
    examples = "".join(f"\n    line {item.line}: {item.reason}: {item.detail}" for item in first)
    raise DataError(
        f"{path}: {bad} of {lines} lines cannot be used = {bad / lines:.0%}, above {MAX_REJECT_FRACTION:.0%}{examples}",
        f"mend the file or take it out of instruct.data; each line is one of {FORMATS}",
    )
