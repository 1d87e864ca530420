"""From URLs to raw files: expansion, sampling, checksums, downloads and their failures."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.sources.fetch import RawFiles, version
from gptoss.sources.resolve_urls import Origin, expand, local_files
from tests.ingest.conftest import LocalIndex


def source(*urls: str, prefix: str = "", max_files: int | None = None) -> SourceConfig:
    return SourceConfig(format="warc", urls=urls, license="L", language="en", prefix=prefix, max_files=max_files)


def urls(*patterns: str, seed: int = 1, prefix: str = "", max_files: int | None = None) -> list[str]:
    return [origin.url for origin in expand(source(*patterns, prefix=prefix, max_files=max_files), seed)]


@pytest.fixture
def tree(workspace: Path) -> Path:
    for name in ("raw/a.gz", "raw/b.gz", "raw/deep/er/c.gz", "raw/deep/d.txt", "raw/[odd].gz", "raw/.hidden.gz"):
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_bytes(name.encode())
    return workspace


def test_local_paths_and_globs(tree: Path) -> None:
    assert urls("raw/*.gz", "raw/a.gz") == ["raw/[odd].gz", "raw/a.gz", "raw/b.gz"]
    assert urls("raw/**/*.gz") == ["raw/[odd].gz", "raw/a.gz", "raw/b.gz", "raw/deep/er/c.gz"]
    assert urls("raw/*/d.txt", "raw/[odd].gz") == ["raw/[odd].gz", "raw/deep/d.txt"]
    assert urls((tree / "raw/a.gz").as_uri()) == [str(tree / "raw/a.gz")]
    assert urls(f"{tree}/raw/?.gz") == [f"{tree}/raw/a.gz", f"{tree}/raw/b.gz"]


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
        for origin in expand(source(url), 1):
            with RawFiles(Path("state")).open(origin):
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


def test_wrong_lists_are_told(tree: Path) -> None:
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
        with pytest.raises(DataError, match=r"^odd\.paths is no list of URLs"):
            urls("odd.paths")


def test_members_of_archives(workspace: Path, package_index: LocalIndex) -> None:
    package_index.add("corpus", "corpus-1.0.tar.gz", {"corpus-1.0/t/b.txt": b"b", "corpus-1.0/t/a.txt": b"a"})
    origins = expand(source("pypi:corpus==1.0/*.txt"), 1)
    assert [origin.url for origin in origins] == [
        "pypi:corpus==1.0/corpus-1.0/t/a.txt",
        "pypi:corpus==1.0/corpus-1.0/t/b.txt",
    ]
    with RawFiles(Path("state")) as raw_files:
        for origin, content in zip(origins, (b"a", b"b"), strict=True):
            with raw_files.open(origin) as stream:
                assert stream.read() == content


# --- over the network --------------------------------------------------------------------------------------------

BODY = b"remote bytes " * 1000


class Handler(BaseHTTPRequestHandler):
    """`/ok`; `/flaky` fails twice; `/short` promises more than it sends; everything else is 404."""

    requests: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        known = self.path in ("/ok", "/flaky", "/short")
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(BODY) + (self.path == "/short") * 10))
        self.end_headers()

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/flaky" and self.requests.count("/flaky") < 3:
            self.send_error(503)
            return
        self.do_HEAD()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def fetched(url: str) -> bytes:
    with RawFiles(Path("state")).open(Origin(url, url)) as stream:
        return stream.read()


def test_download_is_retried_and_leaves_nothing_behind(workspace: Path, server: str, no_pauses: None) -> None:
    assert fetched(f"{server}/ok") == fetched(f"{server}/flaky") == BODY
    assert Handler.requests.count("/flaky") == 3
    assert not list(Path("state").iterdir())


def test_the_version_of_a_remote_file_is_asked_for_once(workspace: Path, server: str, no_pauses: None) -> None:
    assert version(f"{server}/ok") == f"size={len(BODY)}"
    assert version(f"{server}/missing") == version("http://127.0.0.1:9/x") == ""
    with pytest.raises(UserError, match="unknown"):
        version("unknown://x/y")


def test_failed_downloads_name_the_url(workspace: Path, server: str, no_pauses: None) -> None:
    with pytest.raises(UserError, match="/missing does not exist"):
        fetched(f"{server}/missing")
    with pytest.raises(ClusterError, match=r"cannot reach http://127\.0\.0\.1:\d+/short .*3 attempts"):
        fetched(f"{server}/short")
    with pytest.raises(ClusterError, match=r"cannot reach http://127\.0\.0\.1:9/x .*3 attempts") as raised:
        fetched("http://127.0.0.1:9/x")
    assert "network" in raised.value.fix
    assert not list(Path("state").iterdir())


def test_listing_a_folder_that_vanished_into_a_file(tree: Path) -> None:
    with pytest.raises(UserError, match="no file matches"):
        local_files("raw/a.gz/*.gz")
