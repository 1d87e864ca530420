"""Converts LaTeX markup to text."""

from __future__ import annotations

from gptoss.formats.latex.paper_source import assembled
from gptoss.formats.latex.to_text import to_text


def convert(source: str, **files: str) -> tuple[str, str]:
    found = assembled({"main.tex": source} | {name.replace("__", "/") + ".tex": text for name, text in files.items()})
    assert found is not None
    return to_text(found.text)


def body(markup: str) -> str:
    return convert(f"\\documentclass{{a}}\\begin{{document}}{markup}\\end{{document}}")[1]
