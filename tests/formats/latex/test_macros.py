"""Expansion of macros and its bounds."""

from __future__ import annotations

import pytest

from gptoss.formats.latex.macros import MAX_EXPANSIONS
from gptoss.formats.latex.paper_source import assembled
from gptoss.formats.latex.to_text import to_text
from tests.formats.latex.convert import body


@pytest.mark.parametrize(
    "definitions",
    [
        r"\def\a{\a\a}\a",
        "".join(f"\\newcommand{{\\m{chr(97 + i)}}}{{\\m{chr(98 + i)}\\m{chr(98 + i)}}}" for i in range(25)) + r"\ma",
        r"\newcommand{\a}[1]{#1#1#1#1#1#1#1#1#1}" + r"\a{" * 12 + "x" * 100 + "}" * 12,
        "\\newcommand{\\a}{" + "y" * 1900 + "}" + "\\a" * 40_000,
    ],
)
def test_macro_bombs_stay_unexpanded(definitions: str) -> None:
    found = assembled({"a.tex": f"\\documentclass{{a}}{definitions}\\begin{{document}}Still here.\\end{{document}}"})
    assert found is not None
    assert not found.expanded
    assert to_text(found.text)[1] == "Still here."


def test_more_macros_than_any_paper_has() -> None:
    assert MAX_EXPANSIONS >= 10_000
    assert body(r"\newcommand{\x}{y}" + r"\x\ " * 5000) == " ".join(["y"] * 5000)
