"""The conversations to learn from: those that ship with the project, the user's JSON lines, and their documents.

In: UTF-8 files, one JSON object a line in any of `chat_formats.py`, and folders of documents (`knowledge.py`). Out:
`Conversation`s, each once. A bad line is skipped and kept as `Rejected` with file, line, reason and detail; a file of
which more than `MAX_REJECT_FRACTION` is bad, or nothing is good, is a `DataError`.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gptoss.core.errors import DataError, UserError
from gptoss.finetune.chat_formats import FORMATS, LineError, Message, normalised, parse_line

SHIPPED = (Path("gptoss/finetune/conversations.jsonl"), Path("gptoss/finetune/safety.jsonl"))
"""The conversations written for this project; see CONVERSATIONS.md beside them."""
MAX_ANSWER_CHARACTERS = 600
"""Of an answer that is taken from a document."""
MAX_REJECT_FRACTION = 0.2
MAX_LINE_BYTES = 16 * 2**20


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


def read_corpus(patterns: Sequence[str], folders: Sequence[str], control_tokens: Collection[str]) -> Corpus:
    """The shipped conversations, those of every file that matches `patterns` in sorted order, and what the documents
    in `folders` say.

    A conversation seen before is left out as `duplicate`. Raises `UserError` for a pattern that matches no
    file and `DataError` for a file with too many bad lines.
    """
    corpus = Corpus()
    seen: set[tuple[Message, ...]] = set()
    names: set[str] = set()
    for path in [*SHIPPED, *expand(patterns)]:
        outcomes: Counter[str] = Counter()
        for number, line in lines(_located(path)):
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
    for folder in folders:
        _add_documents(corpus, Path(folder), control_tokens)
    return corpus


def _add_documents(corpus: Corpus, folder: Path, control_tokens: Collection[str]) -> None:
    from gptoss.finetune.knowledge import read_facts

    used = rejected = 0
    for fact in read_facts(folder, MAX_ANSWER_CHARACTERS):
        for conversation in fact.conversations():
            try:
                corpus.conversations.append(checked(conversation, control_tokens))
                used += 1
            except LineError as bad:
                corpus.rejected.append(Rejected(str(folder / fact.document), 0, bad.reason, bad.detail))
                rejected += 1
    corpus.files[str(folder)] = {"used": used, "duplicate": 0, "rejected": rejected}


def checked(conversation: Conversation, control_tokens: Collection[str]) -> Conversation:
    """The conversation as chat formats are read. Raises `LineError`."""
    return Conversation(conversation.id, normalised(list(conversation.messages), control_tokens))


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


def _unique(own_id: str | None, messages: tuple[Message, ...], names: set[str]) -> str:
    """The line's own id, made unique by a hash of the messages where it is missing or taken."""
    digest = hashlib.blake2b(json.dumps(messages).encode(), digest_size=16).hexdigest()
    name = own_id if own_id and own_id not in names else f"{own_id}-{digest}" if own_id else digest
    names.add(name)
    return name


def lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
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
    return Path(__file__).with_name(path.name) if path in SHIPPED else path


def _check_outcomes(path: Path, outcomes: Counter[str], rejected: list[Rejected]) -> None:
    if outcomes.total() == 0:
        raise DataError(f"{path} holds no line", f"write one JSON object a line: {FORMATS}")
    fix = f"mend the file or take it out of instruct.data; each line is one of {FORMATS}"
    require_usable(path, "lines", outcomes, rejected, fix)


def require_usable(path: Path, what: str, outcomes: Counter[str], rejected: list[Rejected], fix: str) -> None:
    """Raises `DataError`, with the first reasons, for a file of which too much was rejected."""
    bad, total = outcomes["rejected"], outcomes.total()
    if bad <= MAX_REJECT_FRACTION * total:
        return
    first = [item for item in rejected if item.file == str(path) and item.reason != "duplicate"][:3]
    examples = "".join(f"\n    line {item.line}: {item.reason}: {item.detail}" for item in first)
    share = f"{bad / total:.0%}, above {MAX_REJECT_FRACTION:.0%}"
    raise DataError(f"{path}: {bad} of {total} {what} cannot be used = {share}{examples}", fix)
