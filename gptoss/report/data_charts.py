"""The figures of the data page, drawn from the facts."""

from __future__ import annotations

import math
from typing import Any

from gptoss.core.formatting import count, size
from gptoss.report.charts import OUTCOMES, outcome_legend
from gptoss.report.svg import BLUE, GOLD, INK, LINE, SvgFigure, canvas, labelled_bars, legend_below, to_svg
from gptoss.report.tables import removal_reasons

STEPS = {"ingest": "Ingested", "curate": "Curated", "dedup": "Deduplicated", "decontaminate": "Clean"}
# Bars in the figure of reasons; the tables name all.
MAX_REASONS = 24
# Sources drawn; the tables show all.
MAX_SOURCES = 12
# Edges that span more than this ratio are drawn on a logarithmic axis.
LOGARITHMIC_RATIO = 200.0


def draw(facts: dict[str, Any]) -> dict[str, SvgFigure]:
    """Every figure that there are numbers for, by name."""
    sources = facts["corpus"]["sources"]
    figures = [funnel(sources), reasons(facts), clusters(facts)]
    figures += [distributions(name, source["distributions"]) for name, source in sources.items()]
    return {figure.name: figure for figure in figures if figure}


def funnel(sources: dict[str, Any]) -> SvgFigure | None:
    """Documents and text of every source after each step, as horizontal bars."""
    shown = {name: bars for name, source in sources.items() if (bars := _bars(source))}
    names = list(shown)[:MAX_SOURCES]
    if not names:
        return None
    rows = sum(len(shown[name]) for name in names)
    with canvas(
        0.35 + 0.42 * len(names) + 0.27 * rows, rows=len(names), columns=2, squeeze=False,
        height_ratios=[len(shown[name]) + 0.6 for name in names],
    ) as (figure, axes):  # fmt: skip
        for row, name in zip(axes, names, strict=True):
            for axis, unit in zip(row, ("documents", "bytes"), strict=True):
                _funnel(axis, shown[name], unit)
                title = {"documents": f"{name}: documents", "bytes": "Text"}[unit]
                axis.set_title(title, loc="left", fontsize=9.5, color=INK)
            row[1].tick_params(axis="y", labelleft=False)
        return to_svg(figure, "funnel", "Documents and text of every source that were left after each step")


def _bars(source: dict[str, Any]) -> list[tuple[str, int, int | None]]:
    """Label, documents and bytes of each bar; bytes are None for raw records, whose text is unknown."""
    steps = {step["stage"]: step for step in source["funnel"]}
    bars: list[tuple[str, int, int | None]] = []
    # Raw records first, if ingest counted them: otherwise the funnel begins with documents.
    if "ingest" in steps:
        bars.append(("Raw records", steps["ingest"]["in"]["documents"], None))
    elif source["ingested"]:
        bars.append(("Ingested", source["ingested"]["documents"], source["ingested"]["bytes"]))
    for stage, label in STEPS.items():
        if stage in steps:
            kept = steps[stage]["kept"]
            bars.append((label, kept["documents"], kept["bytes"]))
    return bars


def _funnel(axis: Any, bars: list[tuple[str, int, int | None]], unit: str) -> None:
    values = [bar[1] if unit == "documents" else bar[2] for bar in bars]
    texts = ["" if value is None else {"documents": count, "bytes": size}[unit](value) for value in values]
    colours = [LINE if bar[0] == "Raw records" else BLUE for bar in bars]
    labelled_bars(axis, [bar[0] for bar in bars], [value or 0 for value in values], texts, colours)


def reasons(facts: dict[str, Any]) -> SvgFigure | None:
    """Documents removed for each reason, in the colour of the stage that removed them."""
    groups = removal_reasons(facts)[:MAX_REASONS]
    if not groups:
        return None
    with canvas(0.55 + 0.26 * len(groups)) as (figure, axis):
        numbers = [group["documents"] for group in groups]
        labels = [group["reason"].replace("_", " ") for group in groups]
        colours = [OUTCOMES[group["stage"]][1] for group in groups]
        labelled_bars(axis, labels, numbers, [count(number) for number in numbers], colours)
        outcome_legend(figure, dict.fromkeys(group["stage"] for group in groups))
        return to_svg(figure, "reasons", "Documents removed for each reason")


def clusters(facts: dict[str, Any]) -> SvgFigure | None:
    """The number of clusters of duplicates by size."""
    found = facts["corpus"]["clusters"]
    if not found:
        return None
    by_label = {f"{entry['size']}{'+' * entry['or_more']}": entry["clusters"] for entry in found}
    # Sizes without a cluster in between are shown as 0: the axis must not skip them.
    empty = [str(size) for size in range(2, max(entry["size"] for entry in found)) if str(size) not in by_label]
    labels = sorted([*by_label, *empty[:MAX_REASONS]], key=lambda label: int(label.rstrip("+")))
    numbers = [by_label.get(label, 0) for label in labels]
    with canvas(2.2) as (figure, axis):
        axis.bar(labels, numbers, 0.7, color=OUTCOMES["dedup"][1])
        for position, number in enumerate(numbers):
            axis.annotate(count(number), (position, number), (0, 3), textcoords="offset points", ha="center",
                          color=INK, fontsize=8.5)  # fmt: skip
        if max(numbers) > 100 * max(1, min(numbers)):  # else pairs alone would be visible
            axis.set_yscale("log")
        axis.margins(y=0.15)
        axis.set_yticks([])
        axis.minorticks_off()
        axis.grid(False)
        axis.set_xlabel("documents per cluster, including the kept one")
        axis.tick_params(axis="x", labelcolor=INK)
        return to_svg(figure, "clusters", "Clusters of duplicates by size")


def distributions(source: str, measures: dict[str, Any]) -> SvgFigure | None:
    """Histograms of a source before (pale) and after (blue) curation, one per measure."""
    drawn = {
        name: histogram for name, histogram in measures.items() if len(histogram["edges"]) > 1 and sum(histogram["in"])
    }
    if not drawn:
        return None
    # Two columns where three would leave a lonely figure in the last row.
    columns = 2 if len(drawn) in (1, 2, 4) else 3
    rows = math.ceil(len(drawn) / columns)
    with canvas(0.4 + 1.35 * rows, rows=rows, columns=columns, squeeze=False) as (figure, axes):
        for axis, (name, histogram) in zip(axes.flat, drawn.items(), strict=False):
            _histogram(axis, histogram)
            axis.set_title(name.replace("_", " "), loc="left", fontsize=8.5, color=INK)
        for axis in axes.flat[len(drawn) :]:
            axis.set_visible(False)
        legend_below(figure, axes.flat[0].get_legend_handles_labels()[0])
        return to_svg(figure, f"distributions-{source}", f"Documents of {source} before and after curation")


def _histogram(axis: Any, histogram: dict[str, list[float]]) -> None:
    edges, incoming, kept = histogram["edges"], histogram["in"], histogram["kept"]
    positive = [edge for edge in edges if edge > 0]
    # At most the first edge may be 0; on a logarithmic axis it moves one bin below the first positive edge.
    logarithmic = len(positive) >= len(edges) - 1 and positive[-1] / positive[0] > LOGARITHMIC_RATIO
    if logarithmic and edges[0] <= 0:
        edges = [positive[0] / (positive[1] / positive[0]), *edges[1:]]
    axis.stairs(incoming, edges, fill=True, color=LINE, label="came in")
    axis.stairs(kept, edges, fill=True, color=BLUE, alpha=0.75, label="kept")
    axis.stairs(incoming, edges, color=GOLD, linewidth=0.9)
    if logarithmic:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.12g}")
        axis.minorticks_off()
    else:
        axis.locator_params(axis="x", nbins=4)
    filled = [bin_ for bin_, number in enumerate(incoming) if number]  # without the empty bins at both ends
    axis.set_xlim(edges[filled[0]], edges[filled[-1] + 1])
    axis.set_ylim(0, 1.08 * max(incoming))
    axis.set_yticks([])
    axis.grid(False)
    axis.tick_params(axis="x", labelsize=8)
