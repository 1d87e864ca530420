"""The report: one self-contained HTML page, the same as well-formed Markdown, hostile text harmless in both."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import UserError
from gptoss.report import render
from gptoss.tracking.mlflow_run import StageRun
from stages.report import report
from tests.report import inputs
from tests.report.page import Page


class Recorder(StageRun):
    """Keeps the names of what is logged."""

    def __init__(self) -> None:
        super().__init__("report")
        self.kept: list[tuple[str, str | None]] = []

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        self.kept.append((path.name, folder))


def test_the_page_is_one_file_that_loads_and_runs_nothing(made: Settings) -> None:
    html = render.HTML.read_text()
    page = Page(html)
    assert page.loads == []
    assert page.runs == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"@import|url\((?!#)", html)
    assert html.count("<svg") == 8
    assert "default-src 'none'" in html


def test_hostile_text_is_shown_and_harmless(made: Settings) -> None:
    html, markdown = render.HTML.read_text(), render.MARKDOWN.read_text()
    assert "<script>alert(1)</script>" in "".join(Page(html).text), "shown as the text it is"
    assert "<script" not in html and "<img" not in html
    assert "<script" not in markdown and "<img" not in markdown
    for page in (html, markdown):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_markdown_tables_are_well_formed_and_figures_exist(made: Settings) -> None:
    lines = render.MARKDOWN.read_text().split("\n")
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|(:?-+:?\|)+", line)]
    assert len(rules) >= 10
    for number in rules:
        columns = lines[number].count("|")
        block = [lines[number - 1]]
        for line in lines[number + 1 :]:
            if not line.startswith("|"):
                break
            block.append(line)
        assert len(block) > 1
        for line in block:
            assert len(re.findall(r"(?<!\\)\|", line)) == columns, line
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", "\n".join(lines))
    assert len(links) == 8
    for link in links:
        svg = (paths.REPORTS / link).read_text()
        assert svg.startswith("<?xml") and ' width="518.4pt"' in svg
        assert "var(" not in svg and "#0102" not in svg


def test_a_report_without_inputs_says_not_measured(workspace: Path, settings: Settings) -> None:
    """No stage ran: every section is empty, none fails."""
    run = Recorder()
    report(settings, run)
    html, markdown = render.HTML.read_text(), render.MARKDOWN.read_text()
    assert html.count('class="missing"') >= 8
    assert "not measured" in markdown
    assert ("report.html", None) in run.kept and ("report.md", None) in run.kept


def test_pages_and_figures_are_kept_with_the_run(workspace: Path, settings: Settings) -> None:
    inputs.everything(settings)
    run = Recorder()
    report(settings, run)
    assert ("report.html", None) in run.kept and ("loss.svg", "figures") in run.kept


def test_rendering_needs_facts(workspace: Path, settings: Settings) -> None:
    with pytest.raises(UserError, match="dvc repro report"):
        render.render(settings)


def test_the_page_states_that_a_model_guesses(made: Settings) -> None:
    text = " ".join("".join(Page(render.HTML.read_text()).text).split())
    assert "8 of 8 multiple-choice scores lie within two standard errors of guessing" in text
    assert "20 of 1,319" in text
    assert "MLflow at" in text and "did not answer" in text


def test_both_formats_have_the_same_headings_and_key_figures(made: Settings) -> None:
    html, markdown = render.HTML.read_text(), render.MARKDOWN.read_text()
    of_html = [unescape(re.sub("<[^>]+>", " ", title)).split() for title in re.findall(r"<h[23]>(.*?)</h[23]>", html)]
    of_markdown = [
        title.replace("(", "").replace(")", "").split() for title in re.findall(r"^###? (.*)$", markdown, re.M)
    ]
    # The tokens of a sentence have a heading only on the page, where they are coloured.
    assert [title for title in of_html if title != ["One", "sentence", "in", "tokens"]] == of_markdown
    values = re.findall(r'<dd class="value">(.*?)</dd>', html)
    assert values == re.findall(r"^\| \*\*(.*?)\*\* \|", markdown, re.M) and len(values) == 5
