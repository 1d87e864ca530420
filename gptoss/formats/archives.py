"""Members of tar and zip archives as bytes in memory: nothing is written to disk, whatever the archive contains.

In: the plain bytes of a tar (read as a stream, once) or of a zip (held in memory, at most `MAX_ZIP_BYTES`).
Out: regular members in stored order, or a rejection for a member that is not safe: a name that leaves the archive
(`../x`, `/x`, `C:x`), a link or device, a member beyond the limits, a checksum that differs. A member that is not
wanted is skipped without reading it.
Errors: damage to one zip member costs that member; a tar that is cut off or whose headers are corrupt is a
`DamagedError` at that point, after the members before it. Bombs (more members, more bytes, or a higher compression
ratio than any real archive) end the archive in the same way.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tarfile import HeaderError, TarFile
from typing import Any

from gptoss.formats.records import Rejection
from gptoss.sources.streams import MAX_RECORD_BYTES, DamagedError, Stream, read_up_to

# The largest archive of the supported sources, Project Gutenberg's RDF archive, has about 75,000.
MAX_MEMBERS = 1_000_000
# A zip has its directory at the end, so it is held in memory as a whole.
MAX_ZIP_BYTES = 256 * 2**20
# Plain bytes per compressed byte of a zip member above `BOMB_BYTES`. Text reaches 30; deflate reaches 1032 on zeros.
MAX_RATIO = 200
BOMB_BYTES = 2**20
# A tar's extended header holds long names. tarfile reads it into memory as a whole, and a header can claim 8 GB.
MAX_HEADER_BYTES = 2**20
TAR_MAGIC_OFFSET = 257
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Member:
    """A regular file of an archive."""

    name: str
    data: bytes


def is_tar(head: bytes) -> bool:
    """Whether these first bytes (at least 512) begin a tar: its magic, or a valid header of 1979, which had none."""
    if head[TAR_MAGIC_OFFSET : TAR_MAGIC_OFFSET + 5] == b"ustar":
        return True
    if len(head) < tarfile.BLOCKSIZE or not head[0]:
        return False
    try:
        # Checks the checksum of the header, so that text is not taken for a tar.
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except HeaderError:
        return False
    return True


def is_zip(head: bytes) -> bool:
    """Whether these first bytes begin a zip."""
    return head.startswith(ZIP_MAGIC)


def unsafe(name: str) -> str:
    """Why a member's name is refused, empty when it stays inside its archive."""
    if not name or "\0" in name:
        return "no name"
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "leaves the archive"
    return ""


def members(
    stream: Stream, wanted: Callable[[str], bool] = lambda name: True, limit: int = MAX_RECORD_BYTES
) -> Iterator[Member | Rejection]:
    """The members of a tar or zip whose names are wanted; those above `limit` bytes are rejections."""
    read = _zip_members if is_zip(stream.peek(tarfile.BLOCKSIZE)) else _tar_members
    for number, member in enumerate(read(stream, wanted, limit)):
        if number >= MAX_MEMBERS:
            raise DamagedError(f"more than {MAX_MEMBERS} members in one archive")
        yield member


class _TarInfo(tarfile.TarInfo):
    """Reports a tar that ends without its end mark or is corrupt, where tarfile would end the iteration normally."""

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> Any:
        """The next member. Raises `DamagedError` for anything but a header or the end mark."""
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            # tarfile signals the end mark with a subclass of HeaderError that it does not export.
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise DamagedError(f"tar is cut off or corrupt at byte {tarfile.offset} ({error})") from None

    # Private in tarfile, and the only point between reading the size of an extended header and reading the header.
    def _proc_member(self, tar: TarFile) -> Any:
        extended = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
        if self.type in (*extended, tarfile.SOLARIS_XHDTYPE) and self.size > MAX_HEADER_BYTES:
            raise DamagedError(f"tar header of {self.size} bytes at byte {tar.offset}")
        return super()._proc_member(tar)  # type: ignore[misc]


class _Read1:
    """`read` as tarfile wants it, but with `read1` below: it returns the bytes before damage instead of losing them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        return self._stream.read1(size)


def _tar_members(stream: Stream, wanted: Callable[[str], bool], limit: int) -> Iterator[Member | Rejection]:
    """Members of a tar, in one pass. Raises `DamagedError` where it cannot be read any further."""
    try:
        with tarfile.open(fileobj=_Read1(stream), mode="r|", tarinfo=_TarInfo) as tar:  # type: ignore[call-overload]
            for info in tar:
                if not info.isdir() and (member := _tar_member(tar, info, wanted, limit)):
                    yield member
                tar.members = []  # tarfile keeps the headers of all members, which is a leak in a large archive
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        raise DamagedError(f"tar is cut off or corrupt ({error})") from None


def _tar_member(
    tar: TarFile, info: tarfile.TarInfo, wanted: Callable[[str], bool], limit: int
) -> Member | Rejection | None:
    if refused := unsafe(info.name):
        return Rejection(info.name, "unsafe member", refused)
    if not info.isreg() or info.issparse():
        kind = "link" if info.issym() or info.islnk() else "sparse file" if info.issparse() else "device"
        return Rejection(info.name, "unsafe member", f"a {kind}, not a regular file")
    if not wanted(info.name):
        return None
    if info.size > limit:
        return Rejection(info.name, "too long", f"{info.size} bytes; the limit is {limit}")
    content = tar.extractfile(info)
    data = content.read() if content else b""
    if len(data) < info.size:
        raise DamagedError(f"tar is cut off in {info.name}: {len(data)} of {info.size} bytes")
    return Member(info.name, data)


def _zip_members(stream: Stream, wanted: Callable[[str], bool], limit: int) -> Iterator[Member | Rejection]:
    """Members of a zip. Raises `DamagedError` when its directory, which is at the end, cannot be read."""
    raw = read_up_to(stream, MAX_ZIP_BYTES)
    if len(raw) > MAX_ZIP_BYTES:
        raise DamagedError(f"a zip of more than {MAX_ZIP_BYTES} bytes")
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        # zipfile checks little itself: a damaged directory also asks for a later version of the format
        # (NotImplementedError), or holds lengths and offsets that lead out of the file (the last two).
        raise DamagedError(f"zip is cut off or corrupt ({error})") from None
    with archive:
        for info in archive.infolist():
            if not info.is_dir() and (member := _zip_member(archive, info, wanted, limit)):
                yield member


def _zip_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, wanted: Callable[[str], bool], limit: int
) -> Member | Rejection | None:
    name = info.orig_filename  # `filename` is cut at the first NUL
    if refused := unsafe(name):
        return Rejection(name, "unsafe member", refused)
    # The high 16 bits are the Unix mode, in which 0o120000 means a symbolic link.
    if (info.external_attr >> 16) & 0o170000 == 0o120000:
        return Rejection(name, "unsafe member", "a link, not a regular file")
    if not wanted(name):
        return None
    if info.file_size > limit:
        return Rejection(name, "too long", f"{info.file_size} bytes; the limit is {limit}")
    if info.file_size > max(BOMB_BYTES, MAX_RATIO * info.compress_size):
        return Rejection(name, "bomb", f"{info.compress_size} bytes that would become {info.file_size}")
    try:
        # The directory may understate the size, so the limit applies to the bytes as well.
        with archive.open(info) as content:
            data = content.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        # Besides damage: RuntimeError for an encrypted member, NotImplementedError for an unknown compression method.
        return Rejection(name, "unreadable member", f"{type(error).__name__}: {error}")
    if len(data) > limit:
        return Rejection(name, "too long", f"more than {limit} bytes")
    return Member(name, data)
