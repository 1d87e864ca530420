"""Language identification: English of all periods and genres is recognised, and so are other languages."""

from __future__ import annotations

import bz2
import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest

from gptoss.quality.language import UNKNOWN, identify, identify_all

SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;"""
FOLIO = """Who's there? Nay answer me: Stand & vnfold your selfe. Long liue the King. Barnardo? He. You come most
carefully vpon your houre. 'Tis now strook twelue, get thee to bed Francisco. For this releefe much thankes: 'Tis
bitter cold, And I am sicke at heart. Haue you had quiet Guard? Not a Mouse stirring."""
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt."
BULGARIAN = "Всички хора се раждат свободни и равни по достойнство и права. Те са надарени с разум и съвест."
FRENCH = "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison."


@pytest.mark.parametrize("text", [SONNET, FOLIO])
def test_poetry_and_old_spelling_are_english(text: str) -> None:
    assert identify(text, ("en",)) == "en"


@pytest.mark.parametrize(("text", "language"), [(GERMAN, "de"), (BULGARIAN, "bg"), (FRENCH, "fr")])
def test_other_languages_are_named(text: str, language: str) -> None:
    assert identify(text, ("en",)) == language
    assert identify(unicodedata.normalize("NFD", text), ("en",)) == language


def test_noise_is_not_taken_for_text() -> None:
    assert identify("0101 1010 " * 40, ("en",)) == UNKNOWN


def test_a_column_of_texts() -> None:
    def languages(*texts: str) -> list[str]:
        claimed = pa.array(["en"] * len(texts), pa.string())
        return list(identify_all(pa.array(texts, pa.large_string()), claimed, ("en", "de")).to_pylist())

    assert languages(SONNET, GERMAN * 3) == ["en", "de"]
    assert languages("Yes.", GERMAN[:50]) == ["en", "en"]  # too short for detection: the language the source claims
    assert languages() == []


def test_real_english_pages_are_kept_and_bulgarian_ones_are_not(shared: Path) -> None:
    for book in sorted((shared / "corpora" / "gutenberg").glob("*.txt")):
        text = book.read_text(encoding="utf-8-sig", errors="replace")
        assert identify(text, ("en",)) == "en"
        pages = [text[start : start + 3_000] for start in range(0, len(text) - 3_000, 30_000)]
        assert all(identify(page, ("en",)) == "en" for page in pages)
    english = _articles(shared / "corpora/wikipedia/enwiki-pages-articles-shortened.xml.bz2", "utf-8")
    assert len(english) > 90
    assert all(identify(article, ("en",)) == "en" for article in english)
    bulgarian = _articles(shared / "corpora/wikipedia/bgwiki-latest-pages-articles-shortened.xml.bz2", "utf-16")
    assert len(bulgarian) > 1
    assert all(identify(article, ("en",)) != "en" for article in bulgarian)


def _articles(dump: Path, encoding: str) -> list[str]:
    """Article texts with templates, tags and links cut out crudely."""
    with bz2.open(dump, "rt", encoding=encoding) as stream:
        pages = re.findall(r"<text[^>]*>(.*?)</text>", stream.read(), re.S)
    articles = [page for page in pages if not page.lower().startswith(("#redirect", "#виж"))]
    for pattern in (r"&lt;.*?&gt;", r"\{\{[^{}]*\}\}", r"\{\{[^{}]*\}\}", r"\[\[[^\]|]*\|", r"[\[\]]"):
        articles = [re.sub(pattern, "", article) for article in articles]
    return articles
