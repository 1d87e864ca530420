"""Members of tar and zip archives, intact and hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from gptoss.formats import archives
from gptoss.formats.archives import Member, members
from gptoss.formats.records import Rejection
from gptoss.sources.streams import BytesIterator, DamagedError

Found = list[Member | Rejection]


def stream(raw: bytes, piece: int = 1000) -> io.BufferedReader:
    return io.BufferedReader(BytesIterator(iter([raw[at : at + piece] for at in range(0, len(raw), piece)])), 4096)


def found(raw: bytes, limit: int = 10_000) -> tuple[Found, str]:
    """All members, and the damage that ended them."""
    got: Found = []
    try:
        for member in members(stream(raw), lambda name: not name.endswith(".skip"), limit):
            got.append(member)
    except DamagedError as error:
        return got, str(error)
    return got, ""


def tar(*infos: tuple[str, bytes | None], format_: int = tarfile.PAX_FORMAT, kind: bytes = tarfile.SYMTYPE) -> bytes:
    """Members by name; None makes one of the given kind."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format_) as archive:
        for name, data in infos:
            info = tarfile.TarInfo(name)
            info.size = len(data or b"")
            if data is None:
                info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data or b""))
    return raw.getvalue()


def zipped(*files: tuple[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return raw.getvalue()


GOOD = (("a/b.txt", b"one"), ("x.skip", b"no"), ("long/" * 60 + "c.txt", b"two" * 999))


@pytest.mark.parametrize(
    "raw", [tar(*GOOD), tar(*GOOD, format_=tarfile.GNU_FORMAT), zipped(*GOOD)], ids=["pax", "gnu", "zip"]
)
def test_wanted_members_in_order(raw: bytes) -> None:
    assert found(raw) == ([Member(name, data) for name, data in GOOD if not name.endswith(".skip")], "")


UNSAFE = ("../../etc/passwd", "/etc/passwd", "a/../../b", "C:/x", "..\\x", "a/..")


@pytest.mark.parametrize("make", [tar, zipped])
def test_names_that_leave_the_archive_are_refused(make: type) -> None:
    got, damage = found(make(*((name, b"evil") for name in UNSAFE), ("good", b"x")))
    assert not damage
    assert [member.reason for member in got if isinstance(member, Rejection)] == ["unsafe member"] * len(UNSAFE)
    assert got[-1] == Member("good", b"x")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes) -> None:
    got, damage = found(tar(("link", None), ("good", b"x"), kind=kind))
    assert not damage
    assert isinstance(got[0], Rejection)
    assert got[1:] == [Member("good", b"x")]


def test_a_link_in_a_zip_is_refused() -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    (member,), _ = found(raw.getvalue())
    assert isinstance(member, Rejection)


@pytest.mark.parametrize("make", [tar, zipped])
def test_large_members_and_bombs_cost_only_themselves(make: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "BOMB_BYTES", 1000)
    got, damage = found(make(("large", bytes(20_000)), ("bomb", bytes(9_000)), ("good", b"x")))
    assert not damage
    reasons = ["too long"] if make is tar else ["too long", "bomb"]
    assert [member.reason for member in got if isinstance(member, Rejection)] == reasons
    assert got[-1] == Member("good", b"x")


def test_a_cut_tar_is_always_damage() -> None:
    raw = tar(*GOOD)
    end = len(raw.rstrip(b"\0"))
    for size in range(512, end, 100):
        assert "cut off" in found(raw[:size])[1], size
    assert found(raw[: end + 2048])[1] == ""


def test_a_corrupt_tar_header_is_damage() -> None:
    raw = bytearray(tar(("a", b"x" * 512), ("b", b"y")))
    raw[1024] ^= 255
    got, damage = found(bytes(raw))
    assert got == [Member("a", b"x" * 512)]
    assert "corrupt" in damage


def test_a_tar_header_that_claims_all_memory_is_damage() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    assert "header of" in found(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))[1]


def test_a_damaged_zip_member_costs_only_itself() -> None:
    raw = bytearray(zipped(("a", b"x" * 500), ("b", bytes(range(256))), ("c", b"z")))
    at = raw.index(bytes(range(200, 220)))
    raw[at] ^= 1
    got, damage = found(bytes(raw))
    assert not damage
    assert [type(member) for member in got] == [Member, Rejection, Member]
    assert "cut off" in found(bytes(raw[:-10]))[1]


def test_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    got, damage = found(tar(*((f"m{i}", b"") for i in range(9))))
    assert len(got) == 3
    assert "more than 3 members" in damage


@pytest.mark.parametrize("raw", [b"", b"x" * 2000, bytes(2000)])
def test_other_bytes_are_not_archives(raw: bytes) -> None:
    assert not archives.is_tar(raw)
    assert not archives.is_zip(raw)
