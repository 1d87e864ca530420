"""Files of JSON lines that a person names by globs: which there are, their lines, and whether enough were usable."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gptoss.core.errors import DataError, UserError
from gptoss.finetune.messages import Rejected

# Fraction of the lines of a file. Above it, the file is probably in another format than it seems.
MAX_REJECT_FRACTION = 0.2
# Bounds the memory that a file without newlines takes.
MAX_LINE_BYTES = 16 * 2**20


def expand_globs(key: str, patterns: Sequence[str]) -> list[Path]:
    """The files that the globs under the configuration `key` match, each once, sorted within a pattern. Raises
    `UserError` for a pattern that matches no file."""
    paths: dict[Path, None] = {}
    for pattern in patterns:
        names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        matches = [Path(name) for name in sorted(names) if Path(name).is_file()]
        if not matches:
            raise UserError(
                f"{key}: {pattern!r} matches no file",
                f"give the path of a JSON lines file, relative to {Path.cwd()}, or a glob such as my-chats/*.jsonl",
            )
        paths |= dict.fromkeys(matches)
    return list(paths)


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Numbered non-blank lines without a byte order mark; None in place of a line above `MAX_LINE_BYTES`."""
    # Bytes: in text mode a damaged line would end the file, and U+2028 in a text would split its line.
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


def require_usable(file: str, what: str, outcomes: Counter[str], rejected: list[Rejected], fix: str) -> None:
    """Raise `DataError`, with the first reasons, if more than `MAX_REJECT_FRACTION` of a file was rejected."""
    bad, total = outcomes["rejected"], outcomes.total()
    if bad <= MAX_REJECT_FRACTION * total:
        return
    first = [item for item in rejected if item.file == file and item.reason != "duplicate"][:3]
    examples = "".join(f"\n    line {item.line}: {item.reason}: {item.detail}" for item in first)
    share = f"{bad / total:.0%}, above {MAX_REJECT_FRACTION:.0%}"
    raise DataError(f"{file}: {bad} of {total} {what} cannot be used = {share}{examples}", fix)
