"""Bytes of raw files: remote ones through fsspec with retries, members of archives, local files.

In: an `Origin`. Out: a seekless stream of its raw bytes, hashed as they are read.
Wrong: three attempts with growing pauses, then `ClusterError` naming the URL; a file that is not there is a
`UserError`; a checksum that differs is a `DataError`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from gptoss.core.atomic_files import atomic_file
from gptoss.core.errors import ClusterError, DataError, PipelineError, UserError, from_os_error
from gptoss.core.progress import progress
from gptoss.sources import package_archive
from gptoss.sources.package_index import ATTEMPTS, FIRST_PAUSE, without_password

if TYPE_CHECKING:
    from gptoss.sources.resolve_urls import Origin

BLOCK = 1 << 20

T = TypeVar("T")


class RawFiles:
    """Opens raw files one after the other, keeping the last archive open between its members."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archives = ExitStack()
        self._archive: package_archive.Archive | None = None

    def __enter__(self) -> RawFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._archives.close()

    @contextmanager
    def open(self, origin: Origin) -> Iterator[IO[bytes]]:
        """The raw bytes. A remote file is downloaded whole first, so that a broken connection costs a retry and
        not the file, and removed afterwards."""
        if origin.archive is not None:
            with (
                package_archive.readable(origin.archive),
                self._member_of(origin.archive).open(origin.location) as stream,
            ):
                yield stream
        elif origin.is_remote:
            name = hashlib.blake2b(origin.location.encode(), digest_size=12).hexdigest()
            copy = self._folder / f"{name}-{os.getpid()}.download"
            download(origin.location, copy)
            try:
                with copy.open("rb") as stream:
                    yield stream
            finally:
                copy.unlink(missing_ok=True)
        else:
            with Path(origin.location).open("rb") as stream:
                yield stream

    def _member_of(self, path: Path) -> package_archive.Archive:
        if self._archive is None or self._archive.path != path:
            self._archives.close()
            self._archive = self._archives.enter_context(package_archive.open_archive(path))
        return self._archive


def download(url: str, target: Path) -> None:
    """Copy a remote file to `target`, atomically."""

    def copy() -> None:
        file_system, path = _file_system(url)
        options: dict[str, Any] = {"block_size": 0} if url.startswith("http") else {}
        with (
            atomic_file(target) as partial,
            file_system.open(path, "rb", **options) as remote,
            partial.open("wb") as out,
        ):
            size = getattr(remote, "size", None)
            blocks = iter(lambda: remote.read(BLOCK), b"")
            total = -(-size // BLOCK) if size else None
            written = 0
            for block in progress(blocks, f"download {path.rpartition('/')[2]}", total=total, unit="MiB"):
                out.write(block)
                written += len(block)
        if size and written != size:
            raise ConnectionError(f"{written} of {size} bytes arrived")

    _attempt(copy, url)


VERSION_KEYS = ("ETag", "etag", "sha256", "md5", "md5Hash", "crc32c", "oid", "blob_id", "size", "Size", "LastModified",
                "Last-Modified", "last_modified", "mtime", "updated")  # fmt: skip
"""What fsspec's file systems call that which changes with a file."""


def version(url: str) -> str:
    """What the server of a remote file says of its present version; empty when it says nothing or does not answer."""
    try:
        file_system, path = _file_system(url)
        info = file_system.info(path)
    except PipelineError:
        raise
    except Exception:
        return ""
    return " ".join(f"{key}={info[key]}" for key in VERSION_KEYS if info.get(key) is not None)


def read_small(location: str, url: str, sha256: str | None) -> bytes:
    """A small file whole and decompressed, such as a list of paths."""
    from gptoss.sources.compression import decompressed
    from gptoss.sources.streams import BytesIterator, DamagedError

    if "://" in location:
        file_system, path = _file_system(location)
        raw = _attempt(lambda: bytes(file_system.cat_file(path)), location)
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
            "fetch the pinned file, or pin the new one if the change is meant",
        )


def remote_glob(url: str) -> list[str]:
    """The remote files that match a glob, sorted. Raises `UserError` when none does."""
    file_system, path = _file_system(url)
    found = _attempt(lambda: sorted(file_system.glob(path)), url)
    if not found:
        raise UserError(f"no file matches {without_password(url)}", "correct the glob")
    return [str(file_system.unstrip_protocol(match)) for match in found]


def _file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL. Raises `UserError` for a protocol that is unknown or not installed."""
    if url.startswith("hf://"):
        _go_online()
    import fsspec

    try:
        options = {"client_kwargs": {"trust_env": True}} if url.startswith("http") else {}
        file_system, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise UserError(f"{without_password(url)}: {error}", "install what it names, or use another URL") from None
    return file_system, str(path)


def _go_online() -> None:
    """Stages run with the hub switched off; a source on the hub asks for it."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    if constants := sys.modules.get("huggingface_hub.constants"):
        constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]


def _attempt(call: Callable[[], T], url: str) -> T:
    """Call up to three times. fsspec's file systems raise errors of many libraries, so all but those that cannot
    pass count as the network's."""
    shown = without_password(url)
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except PipelineError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and from_os_error(error):
                raise
            if _is_absent(error):
                raise UserError(f"{shown} does not exist", "correct the URL in params.yaml") from None
            if attempt == ATTEMPTS - 1:
                cause = error.__cause__ or error
                reason = (
                    "timed out"
                    if isinstance(cause, TimeoutError)
                    else " ".join(str(cause).split()) or type(cause).__name__
                )
                raise ClusterError(
                    f"cannot reach {shown} ({reason.replace(url, shown)}; {ATTEMPTS} attempts)",
                    "check this machine's network and proxy, and that the URL is right; the same command continues",
                ) from error
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _is_absent(error: Exception) -> bool:
    """Whether the server said that there is no such file; fsspec says so too when it could not ask."""
    cause = error.__cause__
    return isinstance(error, FileNotFoundError) and (cause is None or getattr(cause, "status", None) in (404, 410))
