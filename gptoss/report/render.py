"""Set the report from its facts and from what was observed: `gptoss report`.

In: `reports/facts.json`, MLflow and `dvc.lock` as far as they answer. Out: `reports/report.html` and the page of the
data, `reports/data.html` (each one file, nothing loaded from elsewhere, no script), the report's twin
`reports/report.md`, and `reports/figures/*.svg` for the twin.
These hold times and run ids, so they are no DVC outputs: they can be set again at any moment, in seconds.
What can go wrong: no facts yet (run the report stage). All text of documents is hostile: it is stripped of
control characters and escaped in one place for each format, by the environments below.
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
from gptoss.report import data_tables, summary_text, tables
from gptoss.report.facts import PATH as FACTS
from gptoss.report.run_history import Observed, observe
from gptoss.report.svg import Picture

HTML = paths.REPORTS / "report.html"
DATA = paths.REPORTS / "data.html"
MARKDOWN = paths.REPORTS / "report.md"
FIGURES = paths.REPORTS / "figures"
TEMPLATES = Path(__file__).parent


def render(settings: Settings) -> list[Path]:
    """Write the pages and the figures; returns the files. Raises `UserError` when there are no facts."""
    from gptoss.report import charts, data_charts

    if not FACTS.exists():
        raise UserError(f"{FACTS} does not exist", "run `dvc repro report`, which collects the facts")
    facts = read_json(FACTS)
    observed = observe(settings)
    pictures = charts.draw(facts)
    with atomic_folder(FIGURES) as folder:
        for picture in pictures.values():
            (folder / f"{picture.name}.svg").write_text(picture.file, encoding="utf-8")
    write_text(HTML, html(facts, observed, pictures))
    write_text(DATA, data_page(facts, data_charts.draw(facts)))
    write_text(MARKDOWN, markdown(facts, observed, pictures))
    return [HTML, MARKDOWN, DATA, *sorted(FIGURES.glob("*.svg"))]


def html(facts: dict[str, Any], observed: Observed, pictures: dict[str, Picture]) -> str:
    """The page. Every string is made plain, then escaped."""
    return _page("report.html.jinja", _context(facts, observed, pictures))


def data_page(facts: dict[str, Any], pictures: dict[str, Picture]) -> str:
    """The page of the data, set as the report is."""
    return _page("data.html.jinja", {"facts": facts, "pictures": pictures, "data": data_tables})


def _page(template: str, context: dict[str, Any]) -> str:
    environment = _environment(autoescape=True, finalize=_plain)
    environment.filters["drawing"] = lambda picture: Markup(picture.inline)
    return environment.get_template(template).render(context) + "\n"


def markdown(facts: dict[str, Any], observed: Observed, pictures: dict[str, Picture]) -> str:
    """The twin. Every string is made plain, set on one line and escaped, unless a filter set it already."""
    environment = _environment(autoescape=False, finalize=_cell)
    environment.filters["code"] = lambda text: Markup(formatting.code(text))
    environment.filters["quote"] = lambda text: Markup(formatting.quote(text))
    page = environment.get_template("report.md.jinja").render(_context(facts, observed, pictures))
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def _environment(**options: Any) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
    for name in ("count", "words", "size", "duration", "percent", "decimal", "significant"):
        environment.filters[name] = getattr(formatting, name)
    return environment


def _plain(value: Any) -> Any:
    return formatting.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _cell(value: Any) -> Any:
    return formatting.cell(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _context(facts: dict[str, Any], observed: Observed, pictures: dict[str, Picture]) -> dict[str, Any]:
    return {
        "facts": facts,
        "observed": observed,
        "pictures": pictures,
        "prose": summary_text,
        "tables": tables,
        "summary": summary_text.summary(facts, observed),
    }
