"""Bytes of raw files: members of package archives, remote files through fsspec with retries, and local files.

In: a `RawFile`. Out: a stream of its raw bytes.
Errors: `ClusterError` with the URL after three failed attempts; `UserError` for a file that does not exist;
`DataError` for a checksum that differs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import ClusterError, DataError, PipelineError, UserError, from_os_error
from gptoss.core.progress import progress
from gptoss.sources import package_archive
from gptoss.sources.compression import decompressed
from gptoss.sources.network import ATTEMPTS, call_with_retries, file_system, without_password
from gptoss.sources.streams import BytesIterator, DamagedError

if TYPE_CHECKING:
    from gptoss.sources.resolve_urls import RawFile

BLOCK = 1 << 20

T = TypeVar("T")


class RawFileOpener:
    """Opens raw files one after the other and keeps the last archive open between its members.

    Members of an archive follow each other in a task, so one open archive is enough. A compressed tar is expensive to
    open again: it is decompressed from the start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archives = ExitStack()
        self._archive: package_archive.Archive | None = None

    def __enter__(self) -> RawFileOpener:
        return self

    def __exit__(self, *_: object) -> None:
        self._archives.close()

    @contextmanager
    def open(self, file: RawFile) -> Iterator[IO[bytes]]:
        """The raw bytes of a file. A remote file is downloaded completely first, so that a broken connection costs a
        retry of the download and not of the reading; the copy is removed afterwards."""
        if file.archive is not None:
            with (
                package_archive.archive_errors(file.archive),
                self._open_archive(file.archive).open(file.location) as stream,
            ):
                yield stream
        elif file.is_remote:
            # The process id keeps tasks apart that read the same URL for two sources at the same time.
            name = hashlib.blake2b(file.location.encode(), digest_size=12).hexdigest()
            copy = self._folder / f"{name}-{os.getpid()}.download"
            download(file.location, copy)
            try:
                with copy.open("rb") as stream:
                    yield stream
            finally:
                copy.unlink(missing_ok=True)
        else:
            with Path(file.location).open("rb") as stream:
                yield stream

    def _open_archive(self, path: Path) -> package_archive.Archive:
        if self._archive is None or self._archive.path != path:
            self._archives.close()
            self._archive = self._archives.enter_context(package_archive.open_archive(path))
        return self._archive


def download(url: str, target: Path) -> None:
    """Copy a remote file to `target`, atomically."""

    def copy() -> None:
        remote_files, path = file_system(url)
        # Block size 0 makes fsspec stream the HTTP response instead of sending one range request per block.
        options: dict[str, Any] = {"block_size": 0} if url.startswith("http") else {}
        with (
            atomic_file(target) as partial,
            remote_files.open(path, "rb", **options) as remote,
            partial.open("wb") as out,
        ):
            size = getattr(remote, "size", None)
            blocks = iter(lambda: remote.read(BLOCK), b"")
            total = -(-size // BLOCK) if size else None
            for block in progress(blocks, f"download {path.rpartition('/')[2]}", total=total, unit="MiB"):
                out.write(block)
            # To a reader that streams, a connection closed early looks like the end of the file.
            if size and out.tell() != size:
                raise ConnectionError(f"{out.tell()} of {size} bytes arrived")

    _with_retries(copy, url)


def read_small(location: str, url: str, sha256: str | None) -> bytes:
    """A small file, whole and decompressed, such as a list of paths. `url` names it in errors."""
    # Small enough to be read at once, so a broken connection needs no partial file.
    if "://" in location:
        remote_files, path = file_system(location)
        raw = _with_retries(lambda: bytes(remote_files.cat_file(path)), location)
    else:
        raw = Path(location).read_bytes()
    check_sha256(url, hashlib.sha256(raw).hexdigest(), sha256)
    try:
        return decompressed(BytesIterator(iter([raw]))).read()
    except DamagedError as error:
        raise DataError(f"{url}: {error}", "fetch the list again, or correct its URL") from None


def check_sha256(url: str, actual: str, expected: str | None) -> None:
    """Raises `DataError` when a raw file is not the one that the configuration pins."""
    if expected and actual != expected:
        raise DataError(
            f"{url}: its SHA-256 is {actual}, but params.yaml pins {expected}",
            "fetch the pinned file, or pin the new SHA-256 if the change is intended",
        )


def remote_glob(url: str) -> list[str]:
    """The remote files that match a glob, sorted. Raises `UserError` when none does."""
    remote_files, path = file_system(url)
    matches = _with_retries(lambda: sorted(remote_files.glob(path)), url)
    if not matches:
        raise UserError(f"no file matches {without_password(url)}", "correct the glob")
    # fsspec lists paths without protocol and credentials; the URL is needed again to open a file.
    return [str(remote_files.unstrip_protocol(match)) for match in matches]


def _with_retries(call: Callable[[], T], url: str) -> T:
    """The result of `call`. fsspec's file systems raise the errors of many libraries, so every error that is not
    known to be permanent counts as a network error."""
    shown = without_password(url)

    def explain(error: Exception) -> tuple[Exception, bool]:
        # A full disk or a missing permission does not go away within seconds.
        if isinstance(error, PipelineError) or (isinstance(error, OSError) and from_os_error(error)):
            return error, False
        if _is_absent(error):
            return UserError(f"{shown} does not exist", "correct the URL in params.yaml"), False
        # fsspec wraps the error of the library below; that one says what failed.
        cause = error.__cause__ or error
        reason = "timed out" if isinstance(cause, TimeoutError) else " ".join(str(cause).split())
        return ClusterError(
            f"cannot reach {shown} ({(reason or type(cause).__name__).replace(url, shown)}; {ATTEMPTS} attempts)",
            "check the network and proxy of this machine, and that the URL is right; the same command continues",
        ), True

    return call_with_retries(call, explain)


def _is_absent(error: Exception) -> bool:
    """Whether the server answered that the file does not exist."""
    # fsspec's HTTP file system raises FileNotFoundError for any failed request, so the cause must be checked as well.
    cause = error.__cause__
    return isinstance(error, FileNotFoundError) and (cause is None or getattr(cause, "status", None) in (404, 410))
