"""Matplotlib figures as SVG with the fonts and colours of the page, in light and dark mode.

Figures are drawn in placeholder colours. In the page each placeholder becomes a CSS variable of the page, so that the
figure follows the reader's colour scheme; in a file of its own (for Markdown) it becomes the light colour, on white.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Inches of 72 points: 518 units of the view box.
WIDTH = 7.2

LIGHT = {
    "ink": "#1d2430",
    "muted": "#5c6675",
    "line": "#dfe3e8",
    "blue": "#2460c2",
    "orange": "#c4560a",
    "green": "#1a7f5a",
    "red": "#c02b3c",
    "violet": "#7648b8",
    "gold": "#a97b00",
    "paper": "#ffffff",
}
# The colours matplotlib draws with: a near-black range that nothing else uses, so that they can be replaced as text.
PLACEHOLDER = {name: f"#0102{position:02x}" for position, name in enumerate(LIGHT, 1)}
INK, MUTED, LINE, BLUE, ORANGE, GREEN, RED, VIOLET, GOLD, PAPER = PLACEHOLDER.values()  # in the order of LIGHT


@dataclass(frozen=True)
class SvgFigure:
    """A figure: its file name without suffix, its caption, and its SVG in placeholder colours."""

    name: str
    caption: str
    svg: str

    @property
    def inline(self) -> str:
        """An `<svg>` element for the page."""
        return _coloured(self.svg, {name: f"var(--{name})" for name in LIGHT})

    @property
    def file(self) -> str:
        """A complete SVG file, dark on white also where a dark page shows it."""
        svg = _coloured(self.svg, LIGHT)
        font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
        ground = f'<rect width="100%" height="100%" fill="#ffffff"/><style>text {{ font-family: {font} }}</style>'
        # A file needs a size and a ground of its own: viewers default to a transparent square.
        head, body = svg.split(">", 1)
        head = re.sub(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', r'width="\1pt" height="\2pt" \g<0>', head)
        return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{ground}{body}\n'


def _coloured(svg: str, colours: dict[str, str]) -> str:
    for name, placeholder in PLACEHOLDER.items():
        svg = svg.replace(placeholder, colours[name])
    return svg


@contextmanager
def canvas(height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes in the report's style, `height` inches high."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    colour = PLACEHOLDER
    style = {
        "svg.fonttype": "none",  # text stays text: searchable, readable by screen readers, and in the page's font
        "svg.hashsalt": "report",  # ids are otherwise random, and the same facts must give the same figure
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.parse_math": False,  # a dollar sign in the name of a source is a dollar sign
        "text.color": colour["ink"],
        "axes.edgecolor": colour["line"],
        "axes.labelcolor": colour["muted"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": colour["line"],
        "grid.linewidth": 0.8,
        "xtick.color": colour["line"],
        "ytick.color": colour["line"],
        "xtick.labelcolor": colour["muted"],
        "ytick.labelcolor": colour["muted"],
        "ytick.major.size": 0,
        "xtick.major.size": 3,
        "legend.frameon": False,
        "lines.solid_capstyle": "round",
        "lines.linewidth": 1.8,
        "patch.linewidth": 0,
    }
    # For this figure only: a test or notebook in the same process keeps its own style.
    with rc_context(style):
        # Without pyplot, which would keep every figure open and look for a display.
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, columns, **options)
        for each in figure.axes:
            each.set_facecolor("none")
        yield figure, axes


def labelled_bars(axis: Any, labels: list[str], values: list[float], texts: list[str], colours: list[str]) -> None:
    """Horizontal bars with their values as text behind them, from top to bottom. No scale: the texts say more."""
    axis.barh(range(len(labels)), values, 0.7, color=colours, edgecolor=PAPER, linewidth=0.8)
    for position, (value, text) in enumerate(zip(values, texts, strict=True)):
        axis.annotate(text, (value, position), (4, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_xlim(0, 1.25 * max(values) or 1)  # room for the text behind the longest bar
    axis.tick_params(axis="y", labelcolor=INK)
    axis.set_xticks([])
    axis.grid(False)
    axis.spines["bottom"].set_visible(False)


def legend_below(figure: Any, handles: Any, **options: Any) -> None:
    """A legend below the axes, where it covers no data."""
    figure.legend(handles=handles, loc="outside lower left", ncols=4, labelcolor=MUTED, handlelength=1.0,
                  handleheight=0.9, columnspacing=1.6, fontsize=9, **options)  # fmt: skip


def to_svg(figure: Any, name: str, caption: str) -> SvgFigure:
    """The SVG of a drawn figure without declaration, metadata and fonts, with ids that are unique in the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = stream.getvalue()
    # The declaration and doctype belong to a file; inside a page they are errors.
    svg = svg[svg.index("<svg") :]
    # Metadata would name matplotlib's version, so an update would change every figure.
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;\"]*;?| transform=\"rotate\(-0 [^\"]*\"", "", svg)
    # Several figures in one page: clip paths of equal ids would cut the wrong figure.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    # Without a size of its own a figure takes the width of the page.
    svg = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"| xmlns:xlink="[^"]*"| version="1.1"', "", svg, count=4)
    svg = svg.replace("xlink:href", "href").replace("<svg", f'<svg role="img" aria-label="{_attribute(caption)}"', 1)
    return SvgFigure(name, caption, re.sub(r"\n\s*", "\n", svg).strip())


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
