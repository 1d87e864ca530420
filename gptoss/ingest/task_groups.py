"""Which raw files one task reads: large ones alone, small ones many at a time.

In: the raw files of a source, in order. Out: for each task its arguments, which say in full which bytes it will read:
a file that changed since an earlier attempt makes another task. Of a local file that is its size and time of change,
of an archive's member the archive's hash, of a remote file what its server says (ETag, checksum, size, date).
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.config.source import SourceConfig
from gptoss.sources.fetch import version
from gptoss.sources.resolve_urls import Origin

MAX_FILES = 64
"""Of a task: what a task costs besides its work is small against reading so many tiny files."""
MAX_BYTES = 64 * 2**20
"""Of a task of more than one file."""
MAX_ASKED = 2_000
"""Servers are asked about so many remote files; of more, the URL is the identity."""
ASKED_AT_ONCE = 16


@dataclass(frozen=True)
class RawFile:
    """A raw file before it is read. `bytes` is -1 where only reading would tell."""

    origin: Origin
    identity: list[Any]
    bytes: int = -1
    can_share: bool = False
    """Whether a task may read it together with its neighbours."""


def described(origins: Sequence[Origin]) -> list[RawFile]:
    """The raw files with what tells another version of them. Raises the operating system's errors."""
    remote = [origin.location for origin in origins if origin.is_remote][: MAX_ASKED + 1]
    if len(remote) > MAX_ASKED:
        remote = []
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        versions = dict(zip(remote, threads.map(version, remote), strict=True))
    return [_described(origin, versions.get(origin.location, "")) for origin in origins]


def _described(origin: Origin, remote_version: str) -> RawFile:
    if origin.archive is not None:
        return RawFile(origin, [origin.archive.parent.name], can_share=True)
    if origin.is_remote:
        return RawFile(origin, [remote_version])
    status = Path(origin.location).stat()
    regular = stat.S_ISREG(status.st_mode)
    size = status.st_size if regular else -1
    return RawFile(origin, [status.st_size, status.st_mtime_ns], size, can_share=regular)


def groups(files: Sequence[RawFile]) -> Iterator[list[RawFile]]:
    """The files in order, in runs of at most `MAX_FILES` and `MAX_BYTES`, or of one."""
    group: list[RawFile] = []
    size = 0
    for file in files:
        size += max(0, file.bytes)
        alone = not file.can_share or bool(group and not group[-1].can_share)
        if group and (alone or len(group) == MAX_FILES or size > MAX_BYTES):
            yield group
            group, size = [], max(0, file.bytes)
        group.append(file)
    if group:
        yield group


def reading_tasks(files: Sequence[RawFile], folder: Path, name: str, source: SourceConfig) -> list[dict[str, Any]]:
    """Arguments of `reading.read_files`. Each task writes files named after its arguments, so that what an earlier
    attempt made of other raw files is never taken for its own."""
    settings = source.model_dump(mode="json")
    return [_task(group, folder, name, settings) for group in groups(files)]


def _task(group: Sequence[RawFile], folder: Path, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    raw = [_plain(file) for file in group]
    digest = hashlib.blake2b(json.dumps([raw, name, settings]).encode(), digest_size=12).hexdigest()
    return {"files": raw, "stem": str(folder / "raw" / digest), "name": name, "settings": settings}


def _plain(file: RawFile) -> dict[str, Any]:
    origin = file.origin
    return {
        "url": origin.url,
        "location": origin.location,
        "sha256": origin.sha256,
        "archive": None if origin.archive is None else str(origin.archive),
        "identity": file.identity,
    }


def known_bytes(files: Sequence[RawFile]) -> int | None:
    """Bytes of all files; None where that is not known for all of them."""
    return None if any(file.bytes < 0 for file in files) else sum(file.bytes for file in files)
