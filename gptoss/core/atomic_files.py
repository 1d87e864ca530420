"""Files and folders that are either complete or absent: written under a temporary name, fsynced, renamed.

A stage that is killed at any point leaves at most a `.NAME.partial`, which the next run removes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptoss.core.canonical_json import canonical_json


def _partial(path: Path) -> Path:
    # Beside the target, because a rename is atomic only within one file system. The dot hides it from globs.
    return path.with_name(f".{path.name}.partial")


def _fsync(path: Path) -> None:
    # Without it a file system may reorder the rename before the data: after a power loss the final name would hold an
    # empty file. Folders are synced too, since the rename itself is an entry of the folder.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is fsynced and renamed to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        yield partial
        _fsync(partial)
        partial.replace(path)
        _fsync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it replaces `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for folder, _, names in os.walk(partial):
            for name in names:
                _fsync(Path(folder) / name)
            _fsync(Path(folder))
        # rename(2) replaces a folder only if it is empty. A kill between the two calls leaves no folder: the stage
        # then runs again, which is safe.
        if path.exists():
            shutil.rmtree(path)
        partial.replace(path)
        _fsync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def assembled_folder(path: Path) -> Iterator[Callable[[str, Path], None]]:
    """An atomic folder made of existing files: yields `add(name, file)`, which hard-links the file, or copies it where
    the file system cannot link. The files stay where they are, so that a killed stage can assemble them again."""
    with atomic_folder(path) as partial:

        def add(name: str, file: Path) -> None:
            try:
                os.link(file, partial / name)
            except OSError as error:
                # Another file system; one without hard links (FAT, some network file systems); too many links.
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                shutil.copyfile(file, partial / name)

        yield add


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `canonical_json` atomically."""
    write_text(path, canonical_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file that this pipeline wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
