"""`checksums.sha256` of a folder, in the format that `sha256sum -c` reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gptoss.core.atomic_files import sha256_file

CHECKSUMS = "checksums.sha256"


def add_missing(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Append a line for each file below `folder` that has none yet.

    `known`: SHA-256, by relative path, of files that were hashed while they were written; they are not read again.
    """
    # Appending, because a folder is completed in steps (weights, tokenizer, model card) and weights are large.
    known = known or {}
    names = (_files(folder) | set(known)) - set(_lines(folder))
    with open(folder / CHECKSUMS, "a", encoding="utf-8") as stream:
        for name in sorted(names):
            stream.write(f"{known.get(name) or sha256_file(folder / name)}  {name}\n")


def differing(folder: Path) -> list[str]:
    """Relative paths of files that are missing, differ from their checksum, or have none. Reads every file."""
    listed = _lines(folder)
    wrong = [
        name
        for name, expected in listed.items()
        if not (folder / name).is_file() or sha256_file(folder / name) != expected
    ]
    return wrong + sorted(_files(folder) - set(listed))


def _files(folder: Path) -> set[str]:
    """Relative paths of all files below `folder`, without the list itself."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {CHECKSUMS}


def _lines(folder: Path) -> dict[str, str]:
    """SHA-256 of the listed files by relative path; empty without a list."""
    path = folder / CHECKSUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # sha256sum marks files that it read in binary mode with an asterisk.
    return {name.lstrip("*"): expected for expected, name in (line.split(maxsplit=1) for line in lines)}
