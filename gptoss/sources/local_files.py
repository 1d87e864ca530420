"""Local files that match a path or a glob.

Unlike `glob.glob`, a folder that may not be listed raises `PermissionError`, and a glob without a match is a
`UserError`: a source must not become smaller in silence.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from gptoss.core.errors import UserError


def local_files(pattern: str) -> list[str]:
    """Files that match a path or a glob (`**` for any depth), sorted. Raises `UserError` when none does or the path
    is a folder, `PermissionError` for a folder that may not be listed."""
    # A path that exists is taken literally, so that a file name may contain brackets.
    if not os.path.lexists(pattern) and glob.has_magic(pattern):
        root = "/" if pattern.startswith("/") else ""
        matches = sorted(set(_walk(root, [component for component in pattern.split("/") if component])))
        if not matches:
            raise UserError(f"no file matches {pattern}", f"correct the glob; it is relative to {Path.cwd()}")
        return matches
    mode = _mode(pattern)
    if mode == 0:
        raise UserError(f"{pattern} does not exist", f"correct the path; it is relative to {Path.cwd()}")
    if stat.S_ISDIR(mode):
        raise UserError(
            f"{pattern} is a folder", f"write a glob of the files in it, such as {pattern.rstrip('/')}/*.gz"
        )
    return [pattern]


def _walk(base: str, components: list[str]) -> Iterator[str]:
    """Files below `base` (empty, or a prefix that ends in `/`) whose remaining path matches `components`."""
    if not components:
        return
    component, rest = components[0], components[1:]
    if component == "**":
        yield from _walk(base, rest or ["*"])
        for entry in _entries(base):
            # Links to folders are not followed: a link to a folder above would never end.
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _walk(f"{base}{entry.name}/", components)
    elif not glob.has_magic(component):
        mode = _mode(base + component)
        if rest and stat.S_ISDIR(mode):
            yield from _walk(f"{base}{component}/", rest)
        elif not rest and stat.S_ISREG(mode):
            yield base + component
    else:
        for entry in _entries(base):
            if not fnmatchcase(entry.name, component) or (entry.name.startswith(".") and not component.startswith(".")):
                continue
            if rest and entry.is_dir():
                yield from _walk(f"{base}{entry.name}/", rest)
            elif not rest and entry.is_file():
                yield base + entry.name


def _mode(path: str) -> int:
    """The mode of the file at `path`, 0 when there is none. A parent folder without permission raises."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (pathlib would normalise the path; outputs show it as written)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder or ".") as entries:
        return sorted(entries, key=lambda entry: entry.name)
