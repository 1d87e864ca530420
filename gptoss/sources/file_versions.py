"""What identifies the current bytes of a raw file without reading them.

In: raw files. Out: for each a version: size and modification time of a local file, the SHA-256 of the archive of a
member, and what its server reports about a remote file (ETag, checksum, size, date). A task whose arguments hold the
version is repeated when the file has changed, and not when a killed stage continues.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.core.errors import PipelineError
from gptoss.sources.network import file_system
from gptoss.sources.resolve_urls import RawFile

# One request per remote file. For larger sources that would delay the first read for minutes, and the publishers of
# such sources (a crawl of Common Crawl has 90,000 files) do not change a file under its URL: the URL identifies it.
MAX_REMOTE = 2_000
REQUEST_THREADS = 16

# The keys that fsspec's file systems use for values that change with the file.
VERSION_KEYS = ("ETag", "etag", "sha256", "md5", "md5Hash", "crc32c", "oid", "blob_id", "size", "Size", "LastModified",
                "Last-Modified", "last_modified", "mtime", "updated")  # fmt: skip


@dataclass(frozen=True)
class VersionedFile:
    """A raw file before it is read. `bytes` is -1 where only reading would tell."""

    file: RawFile
    version: list[Any]
    bytes: int = -1
    can_share: bool = False
    """Whether a task may read it together with its neighbours."""


def with_versions(files: Sequence[RawFile]) -> list[VersionedFile]:
    """The raw files with their versions. Raises the operating system's errors for local files."""
    remote = [file.location for file in files if file.is_remote]
    if len(remote) > MAX_REMOTE:
        remote = []
    with ThreadPoolExecutor(REQUEST_THREADS) as threads:
        versions = dict(zip(remote, threads.map(remote_version, remote), strict=True))
    return [_with_version(file, versions.get(file.location, "")) for file in files]


def _with_version(file: RawFile, version: str) -> VersionedFile:
    if file.archive is not None:
        # Archives are stored in a folder that is named after their SHA-256.
        return VersionedFile(file, [file.archive.parent.name], can_share=True)
    if file.is_remote:
        return VersionedFile(file, [version])
    status = Path(file.location).stat()
    # A named pipe has no size, and reading it blocks until its writer is done, so it gets a task of its own.
    is_regular = stat.S_ISREG(status.st_mode)
    size = status.st_size if is_regular else -1
    return VersionedFile(file, [status.st_size, status.st_mtime_ns], size, can_share=is_regular)


def remote_version(url: str) -> str:
    """What the server of a remote file reports about its current version; empty when it reports nothing or does not
    answer: the download itself will fail with the better message. Raises `UserError` for an unknown protocol."""
    try:
        remote_files, path = file_system(url)
        info = remote_files.info(path)
    except PipelineError:
        raise
    except Exception:  # fsspec's file systems raise the errors of many libraries
        return ""
    return " ".join(f"{key}={info[key]}" for key in VERSION_KEYS if info.get(key) is not None)
