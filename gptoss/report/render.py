"""Render the report from its facts and the history of the runs: `gptoss report`.

Reads `reports/facts.json`, and MLflow and `dvc.lock` as far as they answer. Writes `reports/report.html` and the page
of the data, `reports/data.html` (each one file, without script, loading nothing), the same report as
`reports/report.md`, and `reports/figures/*.svg`, which that shows. They contain times and run ids, so they are not DVC
outputs: they can be rendered again at any time, in seconds.

The content of the report is one template, `templates/report.jinja`; `html.jinja` and `markdown.jinja` say how its
blocks are set. All text of documents is untrusted: control characters are replaced and markup is escaped in one place
per format, by the environments below.

Errors: `UserError` when there are no facts yet.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gptoss.config.settings import Settings
from gptoss.core import formatting, paths
from gptoss.core.atomic_files import atomic_folder, read_json, write_text
from gptoss.core.errors import UserError
from gptoss.report import charts, data_charts, data_tables, evaluation_tables, summary_text, tables
from gptoss.report.facts import PATH as FACTS
from gptoss.report.run_history import RunHistory, load_run_history
from gptoss.report.svg import SvgFigure

HTML = paths.REPORTS / "report.html"
DATA = paths.REPORTS / "data.html"
MARKDOWN = paths.REPORTS / "report.md"
FIGURES = paths.REPORTS / "figures"
TEMPLATES = Path(__file__).with_name("templates")
NUMBER_FILTERS = ("count", "words", "size", "duration", "percent", "decimal", "significant")


def render(settings: Settings) -> list[Path]:
    """Write the pages and the figures; returns the files."""
    if not FACTS.exists():
        raise UserError(f"{FACTS} does not exist", "run `dvc repro report`, which collects the facts")
    facts = read_json(FACTS)
    history = load_run_history(settings)
    figures = charts.draw(facts)
    # Atomic: figures of an earlier report never stay beside new ones.
    with atomic_folder(FIGURES) as folder:
        for figure in figures.values():
            (folder / f"{figure.name}.svg").write_text(figure.file, encoding="utf-8")
    write_text(HTML, html(facts, history, figures))
    write_text(DATA, data_page(facts, data_charts.draw(facts)))
    write_text(MARKDOWN, markdown(facts, history, figures))
    # The pages first: the caller shows or uploads them in this order.
    return [HTML, MARKDOWN, DATA, *sorted(FIGURES.glob("*.svg"))]


def html(facts: dict[str, Any], history: RunHistory, figures: dict[str, SvgFigure]) -> str:
    """The report as one HTML file."""
    return _html_environment().get_template("report.html.jinja").render(_context(facts, history, figures)) + "\n"


def data_page(facts: dict[str, Any], figures: dict[str, SvgFigure]) -> str:
    """The page of the data as one HTML file."""
    context = {"facts": facts, "figures": figures, "data": data_tables, "tables": tables,
               "key_figures": data_tables.key_figures(facts)}  # fmt: skip
    return _html_environment().get_template("data.html.jinja").render(context) + "\n"


def markdown(facts: dict[str, Any], history: RunHistory, figures: dict[str, SvgFigure]) -> str:
    """The report as Markdown, with links to the files of the figures."""
    # Autoescape would escape HTML; as `_markdown_text` returns markup, it leaves text that was escaped once alone.
    environment = _environment(_markdown_text)
    for name, filter_ in (("code", formatting.code), ("quote", formatting.quote), ("verbatim", formatting.plain)):
        environment.filters[name] = lambda text, filter_=filter_: Markup(filter_(text))
    context = _context(facts, history, figures) | {"blocks": "markdown.jinja"}
    # Blank lines separate blocks; how many the macros emit does not matter after the line below.
    page = environment.get_template("report.md.jinja").render(context)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def _html_environment() -> Environment:
    environment = _environment(_plain_text)
    environment.filters["inline_svg"] = lambda figure: Markup(figure.inline)
    return environment


def _environment(finalize: Any) -> Environment:
    # StrictUndefined: a misspelt key fails the stage instead of leaving a gap in the page.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=finalize,
    )
    environment.filters |= {name: getattr(formatting, name) for name in NUMBER_FILTERS}
    return environment


def _plain_text(value: Any) -> Any:
    """Without control characters; autoescape does the rest."""
    return formatting.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _markdown_text(value: Any) -> Any:
    """One line of escaped Markdown."""
    return Markup(formatting.cell(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _context(facts: dict[str, Any], history: RunHistory, figures: dict[str, SvgFigure]) -> dict[str, Any]:
    return {
        "blocks": "html.jinja",
        "facts": facts,
        "history": history,
        "figures": figures,
        "text": summary_text,
        "tables": tables,
        "evaluation": evaluation_tables,
        "summary": summary_text.summary(facts, history),
        "key_figures": summary_text.key_figures(facts, history),
    }
