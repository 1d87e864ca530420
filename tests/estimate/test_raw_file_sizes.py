"""Raw files of a source: found and sized without fetching their bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.estimate import raw_file_sizes
from gptoss.estimate.raw_file_sizes import find_raw_files
from gptoss.sources.resolve_urls import expand_urls
from tests.estimate.conftest import SIZES, Crawl, make_source
from tests.raw_files import LocalIndex


def test_a_sample_of_a_list_is_sized_by_headers_alone(workspace: Path, crawl: str) -> None:
    """The files that `ingest` would read; sizes by HEAD requests, no file is fetched."""
    source = make_source("warc", f"{crawl}/warc.paths.gz", prefix=crawl, max_files=5)
    files = find_raw_files(source, seed=7)
    assert (files.found, files.chosen, files.sized, files.remarks) == (200, 5, 5, [])
    chosen = [file.url.removeprefix(crawl) for file in expand_urls(source, 7)]
    assert files.bytes == sum(SIZES[path] for path in chosen)
    assert sorted(path for method, path in Crawl.requests if method == "HEAD") == sorted(chosen)
    assert {path for method, path in Crawl.requests if method == "GET"} == {"/warc.paths.gz"}


def test_of_many_files_only_some_sizes_are_requested(
    workspace: Path, crawl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_file_sizes, "MAX_SIZE_REQUESTS", 10)
    files = find_raw_files(make_source("warc", f"{crawl}/warc.paths.gz", prefix=crawl), seed=7)
    assert (files.chosen, files.sized) == (200, 10)
    assert files.bytes is not None and 0.7 < files.bytes / sum(SIZES.values()) < 1.3


def test_an_unreachable_file_becomes_a_remark(workspace: Path, crawl: str) -> None:
    Path("one.xml").write_bytes(b"x" * 77)
    nowhere = "http://127.0.0.1:9"
    missing = [f"{nowhere}/list.paths.gz", "absent/*.xml", f"{crawl}/absent.xml"]
    files = find_raw_files(make_source("mediawiki", "one.xml", *missing), seed=7)
    assert (files.chosen, files.sized, files.known_bytes) == (2, 1, 77)
    remarks = "\n".join(files.remarks)
    assert f"cannot reach {nowhere}/list.paths.gz" in remarks and "no file matches absent/*.xml" in remarks
    assert f"no size of {crawl}/absent.xml" in remarks


def test_members_of_an_archive_are_read_from_its_directory(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_index = LocalIndex(workspace / "simple")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", package_index.url)
    texts = {"books-1.0/one.txt": b"x" * 10, "books-1.0/two.txt": b"x" * 30, "books-1.0/other.xml": b"x" * 500}
    package_index.add("books", "books-1.0.tar.gz", texts)
    files = find_raw_files(make_source("gutenberg", "pypi:books==1.0/*.txt"), seed=7)
    assert (files.found, files.known_bytes) == (2, 40)
    assert not Path(".runs").exists(), "nothing was downloaded"
    (remark,) = find_raw_files(make_source("gutenberg", "pypi:absent==1.0/*.txt"), seed=7).remarks
    assert "pypi:absent==1.0" in remark and "pip index versions absent" in remark
