"""Catalogues of works, in each published format."""

from __future__ import annotations

import bz2
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.core.errors import DataError, UserError
from gptoss.formats import catalogue
from gptoss.formats.catalogue import Catalogue, Entry

RDF = """<?xml version="1.0" encoding="utf-8"?>
<rdf:RDF xml:base="http://www.gutenberg.org/" xmlns:dcterms="http://purl.org/dc/terms/"
  xmlns:pgterms="http://www.gutenberg.org/2009/pgterms/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <pgterms:ebook rdf:about="ebooks/{number}">
    <dcterms:publisher>Project Gutenberg</dcterms:publisher>
    <dcterms:issued rdf:datatype="http://www.w3.org/2001/XMLSchema#date">1998-06-01</dcterms:issued>
    <dcterms:rights>{rights}</dcterms:rights>
    <dcterms:title>Pride and
Prejudice</dcterms:title>
    <dcterms:creator><pgterms:agent rdf:about="2009/agents/68">
      <pgterms:name>Austen, Jane</pgterms:name></pgterms:agent></dcterms:creator>
    <dcterms:language><rdf:Description rdf:nodeID="N1">
      <rdf:value rdf:datatype="http://purl.org/dc/terms/RFC4646">en</rdf:value></rdf:Description></dcterms:language>
    <dcterms:type><rdf:Description><rdf:value>Text</rdf:value></rdf:Description></dcterms:type>
    <dcterms:subject><rdf:Description><rdf:value>Courtship -- Fiction</rdf:value></rdf:Description></dcterms:subject>
  </pgterms:ebook>
</rdf:RDF>"""


COPYRIGHTED = "Copyrighted. Read the copyright notice inside this book for details."


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaa">]><r>&a;</r>'


def opened(raw: bytes, source: SourceConfig, folder: Path) -> Catalogue:
    file = folder / "catalogue"
    file.write_bytes(raw)
    found = catalogue.open_catalogue(catalogue.prepare(source.model_copy(update={"catalogue": str(file)}), folder))
    assert found is not None
    return found


def rdf_archive(members: dict[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return bz2.compress(raw.getvalue())


def test_rdf_archive(a_source: SourceConfig, tmp_path: Path) -> None:
    raw = rdf_archive(
        {
            "cache/epub/1342/pg1342.rdf": RDF.format(number=1342, rights="Public domain in the USA."),
            "cache/epub/9/pg9.rdf": RDF.format(number=9, rights=COPYRIGHTED),
            "cache/epub/8/pg8.rdf": BOMB,
            "cache/epub/7/pg7.rdf": "<broken",
            "cache/epub/5/pg5.rdf": RDF.replace("utf-8", "big5").format(number=5, rights=""),
            "cache/epub/4/pg4.rdf": RDF.replace("utf-8", "no-such").format(number=4, rights=""),
            "../pg6.rdf": RDF.format(number=6, rights=""),
        }
    )
    found = opened(raw, a_source, tmp_path)
    assert found.get("1342") == Entry(
        title="Pride and Prejudice", author="Austen, Jane", language="en", date="1998-06-01", type="Text",
        subjects="Courtship -- Fiction", rights="Public domain in the USA.",
    )  # fmt: skip
    copyrighted = found.get("9")
    assert copyrighted is not None
    assert copyrighted.license == COPYRIGHTED
    assert [found.get(number) for number in ("8", "7", "6", "5", "4", "1")] == [None] * 6


def test_metadata_snapshot_with_malformed_entries(a_source: SourceConfig, tmp_path: Path) -> None:
    rows = [{"id": "hep-th/9901001", "title": "A\n  B", "license": None, "categories": "hep-th",
             "versions": [{"version": "v1", "created": "Mon, 1 Jan 1999"}], "update_date": "2007-05-23"},
            {"id": "2001.00001", "license": "http://creativecommons.org/licenses/by/4.0/",
             "abstract": "This paper has been withdrawn by the author."}, {"id": 5}, [1]]  # fmt: skip
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b"{broken\n\xff\n"
    found = opened(raw, a_source, tmp_path)
    assert found.get("hep-th/9901001") == Entry(title="A B", date="Mon, 1 Jan 1999", subjects="hep-th")
    withdrawn = found.get("2001.00001")
    assert withdrawn is not None
    assert withdrawn.withdrawn
    assert withdrawn.license.endswith("/by/4.0/")
    assert found.get("5") is None


def test_a_changed_catalogue_makes_another_table(a_source: SourceConfig, tmp_path: Path) -> None:
    listed = tmp_path / "pg_catalog.csv"
    source = a_source.model_copy(update={"catalogue": str(listed)})
    listed.write_text("Text#,Type,Title\n1,Text,A\n")
    first = catalogue.prepare(source, tmp_path)
    assert catalogue.prepare(source, tmp_path) == first
    listed.write_text("Text#,Type,Title\n1,Text,Other\n")
    second = catalogue.prepare(source, tmp_path)
    assert first.catalogue != second.catalogue
    entry = Catalogue(Path(second.catalogue)).get("1")
    assert entry is not None
    assert entry.title == "Other"


@pytest.mark.parametrize(
    "raw", [b"", b"no catalogue", bz2.compress(b"Text#,Title\n1,A\n" * 9999)[:-9], b"Text#,Title\n"]
)
def test_a_file_that_is_not_a_catalogue_is_a_data_error(raw: bytes, a_source: SourceConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="catalogue"):
        opened(raw, a_source, tmp_path)
    assert not list(tmp_path.glob("*.sqlite*"))


def test_a_glob_of_several_files_is_refused_as_a_catalogue(a_source: SourceConfig, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("Text#,Type,Title\n1,Text,A\n")
    (tmp_path / "none.paths").write_text("\n")
    for pattern, number in (("*.csv", 2), ("none.paths", 0)):
        source = a_source.model_copy(update={"catalogue": f"{tmp_path}/{pattern}"})
        with pytest.raises(UserError, match=f"^catalogue = .*{re.escape(pattern)}: it means {number} files"):
            catalogue.prepare(source, tmp_path)


def test_no_catalogue(a_source: SourceConfig, tmp_path: Path) -> None:
    assert catalogue.prepare(a_source, tmp_path) == a_source
    assert catalogue.open_catalogue(a_source) is None
