"""Project Gutenberg texts to documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stages.ingest import gutenberg
from stages.ingest.records import Document, Rejection
from stages.settings import Source
from tests.ingest.conftest import prose
from tests.ingest.reading import read, texts

BOOK = (
    "The Project Gutenberg EBook of A Tale\r\n\r\nTitle: A Tale\r\n       of Rivers\r\n\r\nAuthor: R. Writer\r\n\r\n"
    "*** START OF THIS PROJECT GUTENBERG EBOOK A TALE ***\r\n\r\nProduced by Volunteers\r\n\r\n{}\r\n\r\n"
    "End of Project Gutenberg's A Tale\r\n\r\n*** END OF THIS PROJECT GUTENBERG EBOOK A TALE ***\r\nLicense text\r\n"
)


def chapters(count: int, paragraphs: int = 40) -> str:
    return "\r\n\r\n".join(
        f"CHAPTER {number}\r\n\r\n" + "\r\n\r\n".join(prose(number * 100 + i) for i in range(paragraphs))
        for number in range(1, count + 1)
    )


def test_book_is_cut_at_chapters_without_boilerplate(a_source: Source) -> None:
    records, _ = read(gutenberg.read, ("\ufeff" + BOOK.format(chapters(3))).encode(), a_source)
    documents = [record for record in records if isinstance(record, Document)]
    assert [document.text.split("\n")[0] for document in documents] == ["CHAPTER 1", "CHAPTER 2", "CHAPTER 3"]
    assert {document.title for document in documents} == {"A Tale of Rivers"}
    assert documents[1].meta == {"part": 2, "parts": 3, "boilerplate": "markers", "author": "R. Writer"}
    assert documents[1].url == "raw.file#part=2"
    assert not re.search(r"gutenberg|produced by|license|\r", "".join(texts(records)), re.IGNORECASE)


def test_small_print_of_the_nineties(a_source: Source) -> None:
    raw = (
        "***The Project Gutenberg Etext of Hamlet***\n\nlegal words\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*"
        "Ver.04.29.93*END*\n\n\n\nHAMLET\n\nby William Shakespeare\n\n"
        + prose(1)
        + "\n\nEnd of this Project Gutenberg "
        "Etext of Hamlet\n"
    )
    (record,), _ = read(gutenberg.read, raw.encode(), a_source)
    assert isinstance(record, Document)
    assert record.text == f"HAMLET\n\nby William Shakespeare\n\n{prose(1)}"
    assert (record.title, record.meta["author"], record.meta["boilerplate"]) == (
        "HAMLET", "William Shakespeare", "small print",
    )  # fmt: skip


def test_text_without_markers_is_kept_whole_and_says_so(a_source: Source) -> None:
    (record,), _ = read(gutenberg.read, b"THE SONNETS\nby W. S.\n\nFrom fairest creatures\n", a_source)
    assert isinstance(record, Document)
    assert record.meta == {"part": 1, "parts": 1, "boilerplate": "none found", "author": "W. S."}
    assert record.text == "THE SONNETS\nby W. S.\n\nFrom fairest creatures"


@pytest.mark.parametrize(
    ("raw", "text"),
    [("naïve “quotes”".encode("cp1252"), "naïve “quotes”"), ("naïve".encode(), "naïve"), (b"\x81\xe9", "\x81é"),
     ("naïve".encode("utf-16"), "naïve")],
)  # fmt: skip
def test_encodings(raw: bytes, text: str) -> None:
    assert gutenberg.decode(raw) == text


def test_binary_file_is_rejected(a_source: Source) -> None:
    (record,), _ = read(gutenberg.read, b"%PDF\0\x01", a_source)
    assert isinstance(record, Rejection)
    assert record.reason == "not text"


@pytest.mark.parametrize(
    "text",
    ["x" * 200_001, ("a b c " * 20 + "\n") * 3000, ("para " * 30 + "\n\n") * 2000, "CHAPTER I\n\nshort\n\n" * 500],
)
def test_no_part_is_too_long_and_nothing_is_lost(text: str) -> None:
    parts = gutenberg.split(text.strip())
    assert all(0 < len(part) <= gutenberg.MAX_CHARACTERS for part in parts)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)


def test_real_novels(shared: Path, a_source: Source) -> None:
    expected = {"11": 12, "1342": 60, "345": 27, "84": 27}
    for name, count in expected.items():
        records, _ = read(gutenberg.read, (shared / f"corpora/gutenberg/{name}.txt").read_bytes(), a_source)
        assert len(records) == count
        assert all(record.meta["boilerplate"] == "markers" for record in records if isinstance(record, Document))
        assert "Project Gutenberg" not in "".join(texts(records))
