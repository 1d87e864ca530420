"""`checksums.sha256` of a folder, in the format that `sha256sum -c` reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stages.storage import sha256_file

CHECKSUMS = "checksums.sha256"


def write(folder: Path, files: Iterable[Path] | None = None) -> None:
    """Add a line for each of `files`; for every file below `folder` if none are named."""
    if files is None:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CHECKSUMS)
    with open(folder / CHECKSUMS, "a", encoding="utf-8") as stream:
        for path in files:
            stream.write(f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n")


def differing(folder: Path) -> list[str]:
    """Files that are absent, differ from their checksum, or have none."""
    wrong = []
    listed = {CHECKSUMS}
    for line in (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines():
        expected, name = line.split("  ", 1)
        listed.add(name)
        path = folder / name
        if not path.is_file() or sha256_file(path) != expected:
            wrong.append(name)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return wrong + sorted(found - listed)
