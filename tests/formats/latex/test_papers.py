"""Archives of LaTeX submissions, source trees and single files to papers."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.formats import arxiv, catalogue
from gptoss.formats.records import Document, Rejection, Skip
from tests.formats.run_reader import read, texts
from tests.formats.test_arxiv import METADATA, json_lines
from tests.raw_files import prose


def paper(title: str) -> bytes:
    return f"\\documentclass{{a}}\\title{{{title}}}\\begin{{document}}{prose(len(title))}\\end{{document}}".encode()


def tar_of(members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def tree_of(title: str) -> dict[str, bytes]:
    main = f"\\documentclass{{a}}\\title{{{title}}}\\begin{{document}}\\input{{text/body}}\\end{{document}}"
    return {"main.tex": main.encode(), "text/body.tex": prose(7).encode(), "fig.pdf": b"%PDF", "main.bbl": b"x"}


BULK = {
    "2001/2001.00001.gz": gzip.compress(paper("One")),
    "2001/2001.00002.gz": gzip.compress(tar_of(tree_of("Two"))),
    "2001/2001.00003.pdf": b"%PDF-1.4",
    "2001/2001.00004.gz": gzip.compress(b"%auto-ignore\nThis paper has been withdrawn by the author."),
    "2001/2001.00005.gz": gzip.compress(paper("Five"))[:-6],
    "2001/2001.00006.gz": gzip.compress(tar_of({"../../etc/passwd": b"x", **tree_of("Six")})),
    "2001/hep-th0101007.gz": gzip.compress(paper("Seven")),
    "2001/2001.00008.gz": gzip.compress(tar_of({"a.tex": b"\\section{x}", "b.tex": b"x"})),
    "2001/2001.00009.gz": gzip.compress(b"%!PS-Adobe-2.0 x"),
    "2001/2001.00010.gz": gzip.compress(tar_of(tree_of("Ten"))[:700]),
    "../2001.00011.gz": gzip.compress(paper("Eleven")),
}


def test_bulk_archive_of_submissions(a_source: SourceConfig) -> None:
    records, damage = read(arxiv.read, tar_of(BULK), a_source)
    assert not damage
    documents = [record for record in records if isinstance(record, Document)]
    assert [(document.title, document.url.removeprefix("https://arxiv.org/abs/")) for document in documents] == [
        ("One", "2001.00001"), ("Two", "2001.00002"), ("Six", "2001.00006"), ("Seven", "hep-th/0101007"),
    ]  # fmt: skip
    assert documents[1].text == f"Two\n\n{prose(7)}"
    assert documents[1].locator == "member 2001/2001.00002.gz"
    assert documents[1].meta == {"arxiv_id": "2001.00002", "main_file": "main.tex"}
    assert [record.reason for record in records if isinstance(record, Skip)] == [
        "PDF only", "withdrawn", "PostScript only",
    ]  # fmt: skip
    assert {record.locator: record.reason for record in records if isinstance(record, Rejection)} == {
        "member 2001/2001.00005.gz": "damaged submission",
        "member 2001/2001.00006.gz!../../etc/passwd": "unsafe member",
        "member 2001/2001.00008.gz": "no main file",
        "member 2001/2001.00010.gz": "damaged submission",
        "../2001.00011.gz": "unsafe member",
    }


def test_a_cut_bulk_archive_keeps_the_submissions_before(a_source: SourceConfig) -> None:
    raw = tar_of(BULK)
    for size in (1500, 4000, len(raw) // 1024 * 512):
        records, damage = read(arxiv.read, raw[:size], a_source)
        assert "cut off" in damage
        assert len(texts(records)) <= 4
    assert texts(read(arxiv.read, raw[:2500], a_source)[0])[0].startswith("One")


def test_one_tree_and_one_file(a_source: SourceConfig) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, data in tree_of("Tree").items():
            archive.writestr(name, data)
    for raw in (zipped.getvalue(), tar_of(tree_of("Tree")), gzip.compress(tar_of(tree_of("Tree")))):
        (record,), damage = read(arxiv.read, raw, a_source)
        assert isinstance(record, Document)
        assert (record.title, record.url, damage) == ("Tree", "raw.file", "")
    (record,), _ = read(arxiv.read, gzip.compress(paper("Single")), a_source)
    assert isinstance(record, Document)
    assert record.title == "Single"
    assert read(arxiv.read, b"%PDF-1.5 x", a_source) == ([Skip("PDF only")], "")


def test_licence_of_each_paper_comes_from_the_catalogue(a_source: SourceConfig, tmp_path: Path) -> None:
    listed = tmp_path / "metadata.jsonl"
    withdrawn = METADATA | {"id": "2001.00002", "abstract": "This paper has been withdrawn."}
    listed.write_bytes(json_lines(METADATA, withdrawn, METADATA | {"id": "hep-th/0101007", "license": "CC-Y"}))
    source = catalogue.prepare(a_source.model_copy(update={"catalogue": str(listed)}), tmp_path)
    records, _ = read(arxiv.read, tar_of(BULK), source)
    found = {record.meta["arxiv_id"]: record for record in records if isinstance(record, Document)}
    assert {key: document.license for key, document in found.items()} == {
        "2001.00001": "CC-X", "2001.00006": None, "hep-th/0101007": "CC-Y",
    }  # fmt: skip
    assert found["2001.00001"].title == "Rivers and seas"
    assert found["2001.00001"].meta["categories"] == "math.PR"


def test_a_gzip_bomb_is_one_rejection(a_source: SourceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss.formats.latex.papers.MAX_RECORD_BYTES", 2**20)
    bomb = gzip.compress(b"\\documentclass " + bytes(2**24))
    records, _ = read(
        arxiv.read, tar_of({"2001/2001.00001.gz": bomb, "2001/2001.00002.gz": BULK["2001/2001.00001.gz"]}), a_source
    )
    assert [type(record) for record in records] == [Rejection, Document]


def test_only_the_files_beyond_the_limit_of_a_paper_are_rejected(
    a_source: SourceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptoss.formats.latex.papers.MAX_RECORD_BYTES", 4_000)
    tree = {"data.txt": b"1 " * 1_000, "more.txt": b"2 " * 1_900, **tree_of("Tree")}
    bulk = tar_of({"2001/2001.00001.gz": gzip.compress(tar_of(tree))})
    for raw, place in ((tar_of(tree), "more.txt"), (bulk, "member 2001/2001.00001.gz!more.txt")):
        (rejection, document), damage = read(arxiv.read, raw, a_source)
        assert not damage
        assert isinstance(document, Document)
        assert document.text == f"Tree\n\n{prose(7)}"
        assert isinstance(rejection, Rejection)
        assert (rejection.locator, rejection.reason) == (place, "too long")
    beside = tar_of({"2001/2001.00001.gz": gzip.compress(paper("One")), "a.txt": b"1" * 3_000, "b.txt": b"2" * 3_000})
    assert read(arxiv.read, beside, a_source)[0][1:] == [Skip("not a submission")] * 2


def test_real_source_tree(shared: Path, a_source: SourceConfig) -> None:
    raw = (shared / "corpora/arxiv/arxiv-latex-cleaner-tex.zip").read_bytes()
    (record,), damage = read(arxiv.read, raw, a_source)
    assert isinstance(record, Document)
    assert not damage
    assert record.meta["main_file"] == "main.tex"
    assert "This is a percent %." in record.text
