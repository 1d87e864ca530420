"""Main text of HTML pages."""

from __future__ import annotations

from gptoss.formats.html import main_text, without_boilerplate_lines
from tests.raw_files import prose

ARTICLE = [prose(number) for number in range(1, 5)]


def page(inside: str) -> str:
    return f"<html><head><title> A \n title </title></head><body>{inside}</body></html>"


def test_an_article_without_its_boilerplate() -> None:
    paragraphs = "".join(f"<p>{text}</p>" for text in ARTICLE)
    title, text = main_text(
        page(
            "<nav><a href=/>Home</a></nav><header><h1>A title</h1><p>By Someone</p></header><main>"
            f"<figure><figcaption class='img-caption'>A river in spring last year.</figcaption></figure>{paragraphs}"
            "<p>Photo: Someone</p><div class='related-posts'><p>Other rivers you may like to read about.</p></div>"
            "<div class=comments><p>Nice article, I liked it very much indeed.</p></div></main><footer>Imprint</footer>"
        )
    )
    assert title == "A title"
    assert [line for line in text.split("\n") if line] == ARTICLE


def test_boilerplate_lines_and_short_lines_at_the_ends_are_removed() -> None:
    lines = [
        "Share",
        "By Someone",
        ARTICLE[0],
        "Read more: another story",
        "A heading",
        ARTICLE[1],
        "Tags: river",
        "More",
    ]
    assert without_boilerplate_lines("\n".join(lines)) == "\n".join([ARTICLE[0], "A heading", ARTICLE[1]])
    assert without_boilerplate_lines("\n".join([ARTICLE[0], ARTICLE[1], ARTICLE[0]])) == "\n".join(ARTICLE[:2])


def test_a_page_without_running_text_is_kept() -> None:
    poem = "\n".join(f"A short line {number}" for number in range(30))
    assert without_boilerplate_lines(poem) == poem
    assert without_boilerplate_lines(f"{poem}\nThis is one sentence that ends like all the others do.") == (
        f"{poem}\nThis is one sentence that ends like all the others do."
    )
    chinese = "河流" * 40 + "。"
    assert without_boilerplate_lines(f"标题\n{chinese}\n分享") == chinese


def test_short_and_empty_pages() -> None:
    assert main_text(page("<h1>Only a heading</h1>"))[1] == "Only a heading"
    assert main_text("") == ("", "")
    assert "Second" in main_text(page("<div class=comments><p>First answer.</p><p>Second answer.</p></div>"))[1]
