"""The conversations to train on: those that ship with the project, the user's JSON lines, and their documents.

In: UTF-8 files, one JSON object per line in any format of `chat_formats.py`, and folders of documents
(`document_facts.py`). Out: `Conversation`s, each once. A bad line is skipped and recorded as `Rejected` with file,
line, reason and detail. A file with no line or too many bad ones is a `DataError`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gptoss.core.errors import DataError
from gptoss.finetune.chat_files import MAX_LINE_BYTES, expand_globs, read_lines, require_usable
from gptoss.finetune.chat_formats import FORMATS, parse_line
from gptoss.finetune.document_facts import read_facts
from gptoss.finetune.messages import Conversation, LineError, Message, Rejected

# The conversations written for this project, in files beside this module; see CONVERSATIONS.md.
SHIPPED = ("conversations.jsonl", "safety.jsonl")
# The folder under which `models/instruct/conversations.json` lists them. They were there in the first release; with
# another name, training on the same conversations would no longer give the same bytes.
RECORDED_IN = Path("stages/instruct")


@dataclass
class Corpus:
    """All conversations in file order, what was rejected, and the number of lines by file and outcome."""

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


def read_corpus(patterns: Sequence[str], folders: Sequence[str], special_tokens: Collection[str]) -> Corpus:
    """The shipped conversations, those of every file that matches `patterns` in sorted order, and those made of the
    documents in `folders`.

    A conversation that occurred before is left out as `duplicate`. Raises `UserError` for a pattern that matches no
    file and `DataError` for a file with too many bad lines.
    """
    corpus = Corpus()
    known: set[tuple[Message, ...]] = set()
    ids: set[str] = set()
    files = {RECORDED_IN / name: Path(__file__).with_name(name) for name in SHIPPED}
    files |= {path: path for path in expand_globs("instruct.data", patterns)}
    for recorded, path in files.items():
        _add_file(corpus, str(recorded), path, special_tokens, known, ids)
    for folder in folders:
        _add_documents(corpus, Path(folder), special_tokens)
    return corpus


def _add_file(
    corpus: Corpus,
    name: str,
    path: Path,
    special_tokens: Collection[str],
    known: set[tuple[Message, ...]],
    ids: set[str],
) -> None:
    outcomes: Counter[str] = Counter()
    for number, line in read_lines(path):
        try:
            if line is None:
                raise LineError("line too long", f"more than {MAX_LINE_BYTES} bytes")
            own_id, messages = parse_line(line, special_tokens)
            # By content, since files of one person often overlap, under other ids.
            if messages in known:
                raise LineError("duplicate")
        except LineError as error:
            outcomes["duplicate" if error.reason == "duplicate" else "rejected"] += 1
            corpus.rejected.append(Rejected.because(error, name, number))
            continue
        outcomes["used"] += 1
        known.add(messages)
        corpus.conversations.append(Conversation(_unique_id(own_id, messages, ids), messages))
    if outcomes.total() == 0:
        raise DataError(f"{name} holds no line", f"write one JSON object per line: {FORMATS}")
    fix = f"correct the file or remove it from instruct.data; each line is one of {FORMATS}"
    require_usable(name, "lines", outcomes, corpus.rejected, fix)
    corpus.files[name] = {key: outcomes[key] for key in ("used", "duplicate", "rejected")}


def _add_documents(corpus: Corpus, folder: Path, special_tokens: Collection[str]) -> None:
    outcomes: Counter[str] = Counter(used=0, duplicate=0, rejected=0)
    for fact in read_facts(folder):
        # Rejected by conversation: one wording may spell a special token where the others do not.
        for conversation in fact.conversations():
            try:
                corpus.conversations.append(conversation.validated(special_tokens))
                outcomes["used"] += 1
            except LineError as error:
                corpus.rejected.append(Rejected.because(error, str(folder / fact.document)))
                outcomes["rejected"] += 1
    corpus.files[str(folder)] = dict(outcomes)


def _unique_id(own_id: str | None, messages: tuple[Message, ...], ids: set[str]) -> str:
    """The line's own id, made unique by a hash of the messages if it is missing or taken."""
    # A hash, not a counter: the id decides the split, and must not change when lines are added before.
    digest = hashlib.blake2b(json.dumps(messages).encode(), digest_size=16).hexdigest()
    name = own_id if own_id and own_id not in ids else f"{own_id}-{digest}" if own_id else digest
    ids.add(name)
    return name
