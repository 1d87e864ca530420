"""The figures of the report about the evaluation: bits per byte, scores, calibration."""

from __future__ import annotations

from typing import Any

from gptoss.core.formatting import decimal
from gptoss.eval_items.suites import suite_titles
from gptoss.report.evaluation_tables import NGRAM_NAMES, task_name
from gptoss.report.svg import (
    BLUE,
    GREEN,
    INK,
    LINE,
    MUTED,
    ORANGE,
    SvgFigure,
    canvas,
    labelled_bars,
    legend_below,
    to_svg,
)  # fmt: skip

# Per variant: its name, colour and marker. The marker differs too, for readers who cannot tell the colours apart.
VARIANT_STYLES = {"base": ("Base", BLUE, "o"), "instruct": ("Instruct", ORANGE, "s")}


def bits_per_byte(facts: dict[str, Any]) -> SvgFigure | None:
    """The models and the n-gram baselines as bars, the best at the bottom."""
    measured = {variant: value for variant, value in facts["evaluation"]["bits_per_byte"].items() if value}
    if not measured:
        return None
    baselines = next(iter(measured.values())).get("baselines", {})
    bars = [(f"byte {NGRAM_NAMES.get(name, name)}", value, LINE) for name, value in baselines.items()]
    for variant, value in measured.items():
        name, colour, _ = VARIANT_STYLES[variant]
        bars.append((f"{name} model", value["model"], colour))
    # The largest first, so that the best is at the bottom, nearest to the axis label.
    bars.sort(key=lambda bar: -bar[1])
    with canvas(0.42 + 0.31 * len(bars)) as (figure, axis):
        labels, values, colours = (list(column) for column in zip(*bars, strict=True))
        labelled_bars(axis, labels, values, [decimal(value, 3) for value in values], colours)
        axis.set_xlabel("bits per byte of held-out text: lower is better", loc="left")
        return to_svg(figure, "bits_per_byte", "Bits per byte of held-out text: the models and byte n-grams")


def comparison(facts: dict[str, Any]) -> SvgFigure | None:
    """Scores as dots with two standard errors, the level of guessing, and GPT-4's published figures."""
    rows = [
        row for row in facts["evaluation"]["rows"] if any(_is_share(cell["value"]) for cell in row["heads"].values())
    ]
    if not rows:
        return None
    # One panel per suite: their items differ, so their scores must not be compared on one axis.
    suites: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        suites.setdefault(row["suite"], []).append(row)
    heights = [len(of_suite) for of_suite in suites.values()]
    height = 0.7 + 0.45 * len(suites) + 0.36 * len(rows)
    with canvas(height, rows=len(suites), sharex=True, squeeze=False, height_ratios=heights) as (figure, axes):
        for axis, (suite, of_suite) in zip(axes[:, 0], suites.items(), strict=True):
            axis.set_title(suite_titles().get(suite, suite), loc="left", fontsize=9.5, color=MUTED)
            for position, row in enumerate(of_suite):
                _compare(axis, position, row)
            axis.set_yticks(range(len(of_suite)), [task_name(row["task"]) for row in of_suite])
            axis.tick_params(axis="y", labelcolor=INK)
            axis.set_ylim(len(of_suite) - 0.4, -0.6)
            axis.grid(True, axis="x")
            axis.set_xlim(-0.02, 1.02)
            axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        # One entry per label: every row has labelled its own marks.
        known = {
            label: handle
            for axis in axes[:, 0]
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        legend_below(figure, known.values(), handletextpad=0.6)
        return to_svg(
            figure, "comparison", "Scores with two standard errors, the level of guessing, and GPT-4's figures"
        )


def _compare(axis: Any, position: int, row: dict[str, Any]) -> None:
    """Draw one row: the level of guessing, the published figure, and a dot per variant."""
    if row["chance"] is not None:
        axis.plot([row["chance"]] * 2, [position - 0.34, position + 0.34], color=MUTED, linewidth=2, label="guessing")
    if row["baseline"]:
        axis.plot(row["baseline"]["value"], position, "D", color=GREEN, markersize=6, label="GPT-4, published")
    for variant, cell in row["heads"].items():
        if not _is_share(cell["value"]):
            continue
        name, colour, marker = VARIANT_STYLES[variant]
        # Above and below the middle of the row, so that error bars of equal scores stay visible.
        offset = {"base": -0.14, "instruct": 0.14}[variant] if len(row["heads"]) > 1 else 0
        error = 2 * (cell["stderr"] or 0)
        # An error bar ends at 0 and 1: a share cannot be outside.
        bounds = [[min(error, cell["value"])], [min(error, 1 - cell["value"])]]
        axis.errorbar(cell["value"], position + offset, xerr=bounds, fmt=marker, color=colour, markersize=5,
                      elinewidth=1.4, label=name)  # fmt: skip


def calibration(facts: dict[str, Any]) -> SvgFigure | None:
    """Reliability diagram: how often choices made with a confidence were right, over all multiple-choice items."""
    bins = {variant: _reliability(facts, variant) for variant in facts["evaluation"]["heads"]}
    if not any(bins.values()):
        return None
    with canvas(2.9) as (figure, axis):
        # The diagonal of perfect calibration.
        axis.plot([0, 1], [0, 1], color=LINE, linewidth=1.2, linestyle=(0, (4, 3)))
        for variant, points in bins.items():
            name, colour, marker = VARIANT_STYLES[variant]
            # Area by number of items, relative to the largest bin: a bin of one item says little.
            sizes = [12 + 90 * (n / max(each for _, _, each in points)) for _, _, n in points]
            axis.plot([x for x, _, _ in points], [y for _, y, _ in points], color=colour, alpha=0.5, linewidth=1)
            axis.scatter([x for x, _, _ in points], [y for _, y, _ in points], sizes, colour, marker, label=name)
        axis.set_xlabel("confidence in the choice; larger marks: more items")
        axis.set_ylabel("share of right choices")
        axis.set_xlim(0, 1.02)
        axis.set_ylim(-0.02, 1.02)
        axis.legend(loc="upper left", labelcolor=MUTED)
        return to_svg(figure, "calibration", "How often choices were right, by the model's confidence in them")


def _reliability(facts: dict[str, Any], variant: str) -> list[tuple[float, float, int]]:
    """`(confidence, accuracy, items)` of the bins of all rows added up, by confidence."""
    # Each row has ten equal-width bins with their mean confidence, so a bin is found again by its first digit.
    together: dict[int, list[dict[str, Any]]] = {}
    for row in facts["evaluation"]["rows"]:
        for entry in ((row["heads"].get(variant) or {}).get("calibration") or {}).get("bins", []):
            together.setdefault(min(int(entry["confidence"] * 10), 9), []).append(entry)
    points = []
    for _, same in sorted(together.items()):
        n = sum(entry["n"] for entry in same)
        means = [sum(entry["n"] * entry[key] for entry in same) / n for key in ("confidence", "accuracy")]
        points.append((means[0], means[1], n))
    return points


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
