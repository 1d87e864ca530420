"""Project Gutenberg texts to documents."""

from __future__ import annotations

import io
import re
import time
import zipfile
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.formats import catalogue, gutenberg
from gptoss.formats.records import Document, Rejection, Skip
from tests.formats.run_reader import read, texts
from tests.raw_files import prose

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


def test_book_is_cut_at_chapters_without_boilerplate(a_source: SourceConfig) -> None:
    records, _ = read(gutenberg.read, ("\ufeff" + BOOK.format(chapters(3))).encode(), a_source)
    documents = [record for record in records if isinstance(record, Document)]
    assert [document.text.split("\n")[0] for document in documents] == ["CHAPTER 1", "CHAPTER 2", "CHAPTER 3"]
    assert {document.title for document in documents} == {"A Tale of Rivers"}
    assert documents[1].meta == {"part": 2, "parts": 3, "boilerplate": "markers", "author": "R. Writer"}
    assert documents[1].url == "raw.file#part=2"
    assert not re.search(r"gutenberg|produced by|license|\r", "".join(texts(records)), re.IGNORECASE)


def test_small_print_of_the_nineties(a_source: SourceConfig) -> None:
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


@pytest.mark.parametrize("empty", ["\n\n", "\n \n", "\n\t \n \n", "\n"])
def test_credits_are_removed_and_no_text_with_them(a_source: SourceConfig, empty: str) -> None:
    """Lines between paragraphs may be blank and not empty; a work may have no empty line at all."""
    work = empty.join(prose(number, 12) for number in range(5))
    records, _ = read(gutenberg.read, BOOK.replace("\r\n\r\n{}", empty + "{}").format(work).encode(), a_source)
    (text,) = texts(records)
    assert [len(re.findall(f"of article {number} ", text)) for number in range(5)] == [12] * 5
    assert ("Produced" in text) == (empty == "\n")


def test_a_work_without_text_is_a_rejection(a_source: SourceConfig) -> None:
    for work in ("", "[Illustration]", "* * *"):
        records, _ = read(gutenberg.read, BOOK.format(work).encode(), a_source)
        assert records == [Rejection("whole file", "no text", "nothing but boilerplate")]
    assert read(gutenberg.read, b"\n", a_source) == ([Skip("empty")], "")


@pytest.mark.parametrize("run", ["\n", " ", "*\n", "*"])
def test_long_runs_without_words_take_linear_time(a_source: SourceConfig, run: str) -> None:
    raw = BOOK.format(f"{run * 2**20}\n{prose(1)}").encode()
    started = time.process_time()
    records, _ = read(gutenberg.read, raw, a_source)
    assert prose(1) in "".join(texts(records))
    assert time.process_time() - started < 10


def test_rules_before_the_end_marker_are_removed(a_source: SourceConfig) -> None:
    raw = BOOK.format(f"{prose(1)}\r\n\r\n  * * *\r\n\r\n-----\r\n")
    records, _ = read(gutenberg.read, raw.encode(), a_source)
    assert texts(records) == [prose(1)]


def test_text_without_markers_is_kept_whole_and_marked(a_source: SourceConfig) -> None:
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


def test_binary_file_is_rejected(a_source: SourceConfig) -> None:
    (record,), _ = read(gutenberg.read, b"%PDF\0\x01", a_source)
    assert isinstance(record, Rejection)
    assert record.reason == "not text"


@pytest.mark.parametrize(
    "text",
    ["x" * 200_001, ("a b c " * 20 + "\n") * 3000, ("para " * 30 + "\n\n") * 2000, "CHAPTER I\n\nshort\n\n" * 500],
)
def test_parts_are_within_the_limit_and_lose_no_text(text: str) -> None:
    parts = gutenberg.split(text.strip())
    assert all(0 < len(part) <= gutenberg.MAX_CHARACTERS for part in parts)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)


def test_real_novels(shared: Path, a_source: SourceConfig) -> None:
    expected = {"11": 12, "1342": 60, "345": 27, "84": 27}
    for name, count in expected.items():
        records, _ = read(gutenberg.read, (shared / f"corpora/gutenberg/{name}.txt").read_bytes(), a_source)
        assert len(records) == count
        assert all(record.meta["boilerplate"] == "markers" for record in records if isinstance(record, Document))
        assert "Project Gutenberg" not in "".join(texts(records))


def a_book(number: str = "", language: str = "English", notice: str = "") -> bytes:
    """A work whose header names its number and language."""
    head = BOOK.replace("Title:", f"Release Date: May, 1999 {number}\r\n{notice}\r\nLanguage: {language}\r\n\r\nTitle:")
    return head.format(chapters(2)).encode()


@pytest.mark.parametrize(
    ("header", "name", "number"),
    [
        ("Release date: x [eBook #1342]", "a.txt", "1342"), ("[EBook #11]", "99.txt", "11"),
        ("[Etext # 1041]", "", "1041"), ("", "https://a.example/cache/epub/1342/pg1342.txt", "1342"),
        ("", "1342-0.txt", "1342"), ("", "1342-8.zip", "1342"), ("", "pg1342.txt.utf8", "1342"),
        ("", "part-of-chapter-7.txt", ""), ("", "raw.file", ""),
    ],
)  # fmt: skip
def test_number_of_a_work(header: str, name: str, number: str) -> None:
    assert gutenberg.number_of(header, name) == number


def test_number_language_and_copyright_of_the_header(a_source: SourceConfig) -> None:
    raw = a_book("[EBook #77]", "French", "** This is a COPYRIGHTED Project Gutenberg eBook, Details Below **")
    records, _ = read(gutenberg.read, raw, a_source)
    first = records[0]
    assert isinstance(first, Document)
    assert (first.url, first.language, first.license, first.locator, first.meta["gutenberg_id"]) == (
        "https://www.gutenberg.org/ebooks/77#part=1", "fr", gutenberg.COPYRIGHTED, "part 1", "77",
    )  # fmt: skip


def test_chapters_false_keeps_a_book_whole(a_source: SourceConfig) -> None:
    whole = a_source.model_copy(update={"chapters": False})
    (record,), _ = read(gutenberg.read, a_book(), whole)
    parts, _ = read(gutenberg.read, a_book(), a_source)
    assert isinstance(record, Document)
    assert (record.url, record.locator, record.meta["parts"]) == ("raw.file", "", 1)
    assert record.text == "\n\n".join(texts(parts))


def test_zip_of_a_mirror(a_source: SourceConfig) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1342-h/1342-h.htm", "<html>")
        archive.writestr("1342-0.txt", a_book())
        archive.writestr("../1343.txt", a_book())
    records, damage = read(gutenberg.read, raw.getvalue(), a_source)
    assert not damage
    assert [type(record) for record in records] == [Document, Document, Rejection]
    assert isinstance(records[0], Document)
    assert (records[0].url, records[0].locator) == ("https://www.gutenberg.org/ebooks/1342#part=1", "member 1342-0.txt")
    assert "cut off" in read(gutenberg.read, raw.getvalue()[:-30], a_source)[1]


def test_marks_of_transcribers_are_removed() -> None:
    text = (
        "[Illustration]\n\nIt _was_ the\n_best\nof_ times, snake_case_name. [Illustration: A\nking]\n\n"
        "[Transcriber's Note: x\ny.]\n\nEnd."
    )
    assert gutenberg.without_marks(text) == "It was the\nbest\nof times, snake_case_name.\n\n\n\nEnd."
    long = prose(1) * 40
    assert gutenberg.without_marks(f"{long}\n\nTRANSCRIBER'S NOTES\n\nTypos mended.") == long
    assert "notes" in gutenberg.without_marks(f"Transcriber's notes\n\n{long}")


def test_language_rights_and_type_come_from_the_catalogue(a_source: SourceConfig, tmp_path: Path) -> None:
    listed = tmp_path / "pg_catalog.csv"
    listed.write_text(
        "Text#,Type,Issued,Title,Language,Authors,Subjects,LoCC,Bookshelves\n"
        '7,Text,1999-05-01,"Un conte,\nlong",fr; en,"Écrivain, R., 1800-1880",Rivers,PQ,Tales\n'
        "8,Sound,2000-01-01,A tune,en,,,M,\n"
    )
    source = catalogue.prepare(a_source.model_copy(update={"catalogue": str(listed)}), tmp_path)
    records, _ = read(gutenberg.read, a_book("[EBook #7]"), source)
    first = records[0]
    assert isinstance(first, Document)
    assert (first.title, first.language, first.license) == ("Un conte, long", "fr", None)
    assert (first.meta["author"], first.meta["date"]) == ("Écrivain, R., 1800-1880", "1999-05-01")
    assert read(gutenberg.read, a_book("[EBook #8]"), source)[0] == [Skip("no text but Sound")]
    unknown, _ = read(gutenberg.read, a_book("[EBook #9]"), source)
    assert isinstance(unknown[0], Document)
    assert unknown[0].title == "A Tale of Rivers"
