"""The files of a paper: main file, inclusions, comments."""

from __future__ import annotations

from gptoss.formats.latex.paper_source import main_file, without_comments
from tests.formats.latex.convert import convert


def test_inclusions_stay_within_the_paper_and_never_recurse() -> None:
    _, text = convert(
        r"\documentclass{a}\begin{document}\input{parts/one}\include{two}\input{/etc/passwd}\input{../../x}\end{document}",
        parts__one=r"One. \input{parts/one} \input{main}",
        two="Two.",
    )
    assert text == "One.\n\nTwo."


def test_a_comment_neither_ends_nor_begins_a_paragraph() -> None:
    assert without_comments("a% x\n  b\n\n c\\% d %\n\ne") == "a" + "b\n\nc\\% d \n\ne"
    assert without_comments("x\\\\% y\nz") == "x\\\\z"


def test_main_file() -> None:
    begin = "\\documentclass{a}\n\\begin{document}"
    assert main_file({"b.tex": begin + "x" * 99, "a.tex": begin, "c.tex": "\\section{x}"}) == "b.tex"
    assert main_file({"b.tex": begin + "x" * 99, "ms.tex": begin}) == "ms.tex"
    assert main_file({"fig.tex": begin.replace("{a}", "{standalone}") + "x" * 999, "z.tex": begin}) == "z.tex"
    assert main_file({"a.tex": begin, "z.tex": begin, "00README.XXX": "z.tex toplevelfile\n"}) == "z.tex"
    assert main_file({"a.tex": "\\magnification=1200 x \\bye", "b.tex": "x"}) == "a.tex"
    assert main_file({"a.tex": "x", "b.tex": "y"}) is None
