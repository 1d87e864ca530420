"""Preference pairs from ranked replies of OpenAssistant trees.

Where a message of the user has several ranked replies, the best and the worst are a pair, and the conversation up to
there is its prompt. A pair that is empty somewhere or spells a special token is rejected, as a line of a chat file is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptoss.config.instruct import InstructConfig
from gptoss.core.errors import DataError
from gptoss.finetune.chat_files import MAX_LINE_BYTES, expand_globs, read_lines, require_usable
from gptoss.finetune.messages import LineError, Rejected, normalize_messages

Pair = dict[str, list[dict[str, str]]]
"""`prompt`, `chosen` and `rejected`, each a list of messages."""
ROLES = {"prompter": "user", "assistant": "assistant"}


@dataclass
class Preferences:
    """The pairs to train on in file order, what was rejected, and the number of pairs by file and outcome."""

    pairs: list[Pair] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    files: dict[str, dict[str, int]] = field(default_factory=dict)


def read_preferences(config: InstructConfig, tokenizer: Any, special_tokens: Collection[str]) -> Preferences | None:
    """The pairs of `instruct.preference` that are no longer than `instruct.max_length`; None if it is null."""
    if config.preference is None:
        return None
    preferences = read_pairs(config.preference.data, special_tokens)
    preferences.pairs = [pair for pair in preferences.pairs if _fits(pair, tokenizer, config.max_length)]
    if not preferences.pairs:
        raise DataError(
            f"no pair of {', '.join(config.preference.data)} fits instruct.max_length({config.max_length})",
            "raise instruct.max_length or give shorter trees",
        )
    return preferences


def read_pairs(patterns: Sequence[str], special_tokens: Collection[str]) -> Preferences:
    """The pairs of all trees. Raises `UserError` for a pattern that matches nothing, `DataError` for a line that is not
    a tree, for a file with too many bad pairs, and if no tree ranks any replies."""
    preferences = Preferences()
    for path in expand_globs("instruct.preference.data", patterns):
        outcomes: Counter[str] = Counter()
        for number, line in read_lines(path):
            for pair in _parse_tree(line, path, number):
                try:
                    _validate(pair, special_tokens)
                    preferences.pairs.append(pair)
                    outcomes["used"] += 1
                except LineError as error:
                    preferences.rejected.append(Rejected.because(error, str(path), number))
                    outcomes["rejected"] += 1
        fix = "correct the file or remove it from instruct.preference.data"
        require_usable(str(path), "pairs", outcomes, preferences.rejected, fix)
        preferences.files[str(path)] = {key: outcomes[key] for key in ("used", "rejected")}
    if not preferences.pairs:
        raise DataError(
            f"{', '.join(patterns)}: no message has two ranked replies",
            "give OpenAssistant trees whose replies have a rank, or set instruct.preference to null",
        )
    return preferences


def _parse_tree(line: bytes | None, path: Path, number: int) -> list[Pair]:
    """The pairs of one line."""
    if line is None:
        raise DataError(f"{path}, line {number} has more than {MAX_LINE_BYTES} bytes", "write one tree per line")
    try:
        return list(_walk(json.loads(line.decode("utf-8"))["prompt"], []))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number} is not UTF-8 ({error.reason} at byte {error.start} of the line)", "save it as UTF-8"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}, line {number} is not an OpenAssistant tree ({type(error).__name__}: {error})",
            'each line is {"prompt": {"text", "role", "replies": [{"text", "role", "rank", "replies"}, …]}}',
        ) from None


def _walk(node: dict[str, Any], before: list[dict[str, str]]) -> Iterator[Pair]:
    """The pairs below a node, depth first; `before` are the messages above it."""
    messages = [*before, {"role": ROLES[node["role"]], "content": node["text"].strip()}]
    replies = node.get("replies") or []
    ranked = sorted((r for r in replies if isinstance(r.get("rank"), int)), key=lambda reply: reply["rank"])
    if node["role"] == "prompter" and len(ranked) > 1:
        # One pair per message, of the replies that differ most: neighbours in rank are often about equally good.
        chosen, rejected = ({"role": "assistant", "content": r["text"].strip()} for r in (ranked[0], ranked[-1]))
        yield {"prompt": messages, "chosen": [chosen], "rejected": [rejected]}
    for reply in replies:
        yield from _walk(reply, messages)


def _validate(pair: Pair, special_tokens: Collection[str]) -> None:
    """Raise `LineError` if one of the two conversations of a pair is not valid."""
    # Both sides: the rejected reply is trained on as well, to be less likely.
    for side in ("chosen", "rejected"):
        messages = [(message["role"], message["content"]) for message in pair["prompt"] + pair[side]]
        normalize_messages(messages, special_tokens)


def _fits(pair: Pair, tokenizer: Any, length: int) -> bool:
    """True if both conversations have at most `length` tokens: trl would cut a longer one, and with it its end."""
    return all(
        len(tokenizer.apply_chat_template(pair["prompt"] + pair[side], return_dict=True)["input_ids"]) <= length
        for side in ("chosen", "rejected")
    )
