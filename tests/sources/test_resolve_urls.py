"""From URLs to raw files: expansion, sampling, checksums, lists, members of archives."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.core.errors import DataError, UserError
from gptoss.sources.fetch import RawFileOpener
from gptoss.sources.resolve_urls import expand_urls
from tests.raw_files import LocalIndex


def source(*urls: str, prefix: str = "", max_files: int | None = None) -> SourceConfig:
    return SourceConfig(format="warc", urls=urls, license="L", language="en", prefix=prefix, max_files=max_files)


def urls(*patterns: str, seed: int = 1, prefix: str = "", max_files: int | None = None) -> list[str]:
    return [origin.url for origin in expand_urls(source(*patterns, prefix=prefix, max_files=max_files), seed)]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("raw/*.bz2", "no file matches raw/"),
        ("nowhere/x.gz", "nowhere/x.gz does not exist"),
        ("raw/deep", "raw/deep is a folder"),
        ("raw/a.gz#sha256=12", "64 hex digits, this has 2"),
        ("raw/*.gz#sha256=" + "0" * 64, "3 files but has one #sha256"),
        ("pypi:corpus==1.0", "names no member"),
        ("unknown://x/y.gz", "unknown"),
    ],
)
def test_wrong_urls_are_user_errors(tree: Path, url: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem.replace("*", r"\*")):
        for origin in expand_urls(source(url), 1):
            with RawFileOpener(Path("state")).open(origin):
                pass


def test_sample_depends_on_the_seed_and_not_on_the_neighbours(workspace: Path) -> None:
    (workspace / "raw").mkdir()
    for number in range(40):
        (workspace / f"raw/{number:02d}.gz").touch()
    first = urls("raw/*.gz", seed=1, max_files=10)
    assert len(first) == 10
    assert first == sorted(first) == urls("raw/*.gz", seed=1, max_files=10)
    assert first != urls("raw/*.gz", seed=2, max_files=10)
    (workspace / "raw/new.gz").touch()
    assert len(set(first) & set(urls("raw/*.gz", seed=1, max_files=10))) >= 9


def test_lists_of_paths(tree: Path) -> None:
    listed = b"raw/a.gz\n\nraw/b.gz\n"
    Path("list.paths").write_bytes(listed)
    Path("list.paths.gz").write_bytes(gzip.compress(listed))
    assert (
        urls("list.paths")
        == urls(f"list.paths#sha256={hashlib.sha256(listed).hexdigest()}")
        == ["raw/a.gz", "raw/b.gz"]
    )
    assert urls("list.paths.gz", prefix="https://data.example/") == [
        "https://data.example/raw/a.gz",
        "https://data.example/raw/b.gz",
    ]
    assert urls("list.paths", prefix=str(tree)) == [f"{tree}/raw/a.gz", f"{tree}/raw/b.gz"]
    with pytest.raises(DataError, match=r"pins 0{64}"):
        urls("list.paths#sha256=" + "0" * 64)
    Path("cut.paths.gz").write_bytes(gzip.compress(listed)[:-9])
    with pytest.raises(DataError, match="cut off"):
        urls("cut.paths.gz")


def test_globs_of_lists_and_lists_of_lists(tree: Path) -> None:
    Path("1.paths").write_bytes(b"raw/a.gz\n")
    Path("2.paths").write_bytes(b"raw/b.gz\n1.paths\n")
    assert urls("?.paths") == urls("2.paths") == ["raw/a.gz", "raw/b.gz"]
    with pytest.raises(UserError, match="2 files but has one #sha256"):
        urls("?.paths#sha256=" + "0" * 64)


def test_wrong_lists_are_reported(tree: Path) -> None:
    Path("1.paths").write_bytes(b"raw/a.gz\n2.paths\n")
    Path("2.paths").write_bytes(b"1.paths\n")
    with pytest.raises(UserError, match=r"^1\.paths > 2\.paths > 1\.paths: a list names itself"):
        urls("1.paths")
    for number in range(20):
        Path(f"deep{number}.paths").write_text(f"deep{number + 1}.paths\n")
    with pytest.raises(UserError, match="too many lists"):
        urls("deep0.paths")
    for raw in (b"raw/\xff.gz\n", "raw/a.gz\n".encode("utf-16-le")):
        Path("odd.paths").write_bytes(raw)
        with pytest.raises(DataError, match=r"^odd\.paths is not a list of URLs"):
            urls("odd.paths")


def test_members_of_archives(workspace: Path, package_index: LocalIndex) -> None:
    package_index.add("corpus", "corpus-1.0.tar.gz", {"corpus-1.0/t/b.txt": b"b", "corpus-1.0/t/a.txt": b"a"})
    origins = expand_urls(source("pypi:corpus==1.0/*.txt"), 1)
    assert [origin.url for origin in origins] == [
        "pypi:corpus==1.0/corpus-1.0/t/a.txt",
        "pypi:corpus==1.0/corpus-1.0/t/b.txt",
    ]
    with RawFileOpener(Path("state")) as raw_files:
        for origin, content in zip(origins, (b"a", b"b"), strict=True):
            with raw_files.open(origin) as stream:
                assert stream.read() == content
