"""The figures of the report about data and training, drawn from its facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gptoss.core.formatting import count, decimal, size
from gptoss.report.evaluation_charts import bits_per_byte, calibration, comparison
from gptoss.report.evaluation_tables import NGRAM_NAMES
from gptoss.report.svg import (
    BLUE,
    GOLD,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    RED,
    VIOLET,
    SvgFigure,
    canvas,
    legend_below,
    to_svg,
)  # fmt: skip

# Outcome of an ingested document: by the stage that removed it, or clean. In stacking order.
OUTCOMES = {
    "clean": ("kept", BLUE),
    "curate": ("removed by curation", GOLD),
    "dedup": ("duplicate", VIOLET),
    "decontaminate": ("overlaps a benchmark", RED),
}


def draw(facts: dict[str, Any]) -> dict[str, SvgFigure]:
    """Every figure that there are numbers for, by name."""
    figures = (
        corpus(facts),
        loss(facts),
        schedule(facts),
        validation(facts),
        instruct(facts),
        bits_per_byte(facts),
        comparison(facts),
        calibration(facts),
    )
    return {figure.name: figure for figure in figures if figure}


def corpus(facts: dict[str, Any]) -> SvgFigure | None:
    """The outcome of the documents and bytes of every source, as stacked bars."""
    # Sources without clean text have not passed all steps, so their bars would not be comparable.
    sources = {name: source for name, source in facts["corpus"]["sources"].items() if source["clean"]}
    if not sources:
        return None
    names = list(sources)
    with canvas(0.75 + 0.36 * len(names), columns=2, sharey=True) as (figure, axes):
        for axis, unit in zip(axes, ("documents", "bytes"), strict=True):
            # Stacked by hand: `barh` takes the left end of each bar.
            left = [0.0] * len(names)
            for outcome, (label, colour) in OUTCOMES.items():
                widths = [_amount(facts, name, outcome, unit) for name in names]
                axis.barh(names, widths, 0.62, left, color=colour, label=label, edgecolor=PAPER, linewidth=0.8)
                left = [a + b for a, b in zip(left, widths, strict=True)]
            axis.grid(True, axis="x")
            axis.grid(False, axis="y")  # the style of the page has a grid across columns, these are bars
            axis.set_xlim(0, 1.02 * max(left) or 1)
            axis.xaxis.set_major_locator(_max_ticks(4))
            axis.xaxis.set_major_formatter(lambda value, _, unit=unit: size(value) if unit == "bytes" else count(value))
            axis.set_title({"documents": "Documents", "bytes": "Text"}[unit], loc="left", fontsize=9.5, color=INK)
            axis.tick_params(axis="y", labelcolor=INK)
        axes[0].invert_yaxis()
        outcome_legend(figure, [o for o in OUTCOMES if any(_amount(facts, name, o, "documents") for name in names)])
        return to_svg(figure, "corpus", "Outcome of the ingested documents and their text, by source")


def outcome_legend(figure: Any, outcomes: Iterable[str]) -> None:
    """The legend of the colours of `OUTCOMES`, without those that the figure does not show."""
    from matplotlib.patches import Patch

    handles = [Patch(color=OUTCOMES[outcome][1], label=OUTCOMES[outcome][0]) for outcome in outcomes]
    legend_below(figure, handles)


def _amount(facts: dict[str, Any], source: str, outcome: str, unit: str) -> float:
    if outcome == "clean":
        return float(facts["corpus"]["sources"][source]["clean"][unit])
    groups = [group for group in facts["corpus"]["removed"] if group["stage"] == outcome]
    return float(sum(group["sources"].get(source, {}).get(unit, 0) for group in groups))


def _max_ticks(number: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    # Steps of 1, 2, 5 or 10 only: matplotlib also allows 2.5, which gives labels such as 12.5k.
    return MaxNLocator(number, steps=[1, 2, 5, 10])


def _tokens_axis(axis: Any, label: str = "tokens") -> None:
    from matplotlib.ticker import FuncFormatter

    def short(value: float, _: int) -> str:
        # Decimal prefixes of counts, with B for billions as is usual for tokens; bytes are set by `formatting.size`.
        for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= limit:
                return f"{value / limit:g}{unit}"
        return f"{value:g}"

    axis.xaxis.set_major_formatter(FuncFormatter(short))
    axis.xaxis.set_major_locator(_max_ticks(7))
    axis.set_xlabel(label)
    axis.margins(x=0.01)


def _smooth(values: list[float | None], span: int) -> list[float | None]:
    """Centred mean over about `span` points, shorter at the ends."""
    windows = (values[max(0, i - span // 2) : i + span // 2 + 1] for i in range(len(values)))
    known = ([value for value in window if value is not None] for window in windows)
    return [sum(window) / len(window) if window else None for window in known]


def _plot(axis: Any, x: list[Any], y: list[Any], *arguments: Any, **options: Any) -> Any:
    """Plot the points where both coordinates are known: matplotlib would break the line at the others."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    return axis.plot([a for a, _ in points], [b for _, b in points], *arguments, **options)


def loss(facts: dict[str, Any]) -> SvgFigure | None:
    """Training loss, raw and smoothed over a twentieth of the curve, and validation loss."""
    training = facts["training"]
    if not training or "loss" not in training["curve"]:
        return None
    curve, validation = training["curve"], training["validation"]
    with canvas(2.9) as (figure, axis):
        _plot(axis, curve["tokens"], curve["loss"], color=BLUE, alpha=0.28, linewidth=0.9)
        # A window of a twentieth of the curve: wide enough to hide the noise of a step, narrow enough to show a
        # warm-up.
        smooth = _smooth(curve["loss"], max(1, len(curve["loss"]) // 40) * 2)
        _plot(axis, curve["tokens"], smooth, color=BLUE, label="training loss")
        if validation:
            _plot(axis, validation["tokens"], validation["loss"], "o-", color=ORANGE, markersize=4, linewidth=1.2,
                  label="validation loss")  # fmt: skip
        axis.set_ylabel("nats per token")
        axis.legend(loc="upper right", labelcolor=MUTED)
        _tokens_axis(axis, "training tokens")
        return to_svg(figure, "loss", "Training and validation loss over the training tokens")


def schedule(facts: dict[str, Any]) -> SvgFigure | None:
    """Learning rate (above), and loss scale with the skipped steps (below)."""
    training = facts["training"]
    if not training or "learning_rate" not in training["curve"]:
        return None
    curve = training["curve"]
    with canvas(2.9, rows=2, sharex=True) as (figure, (above, below)):
        _plot(above, curve["step"], curve["learning_rate"], color=GREEN)
        above.set_title("Learning rate", loc="left", fontsize=9.5)
        above.set_ylim(bottom=0)
        # Plain numbers: an offset such as 1e-4 above the axis is easily overlooked.
        above.ticklabel_format(axis="y", style="plain")
        above.yaxis.set_major_locator(_max_ticks(3))
        below.set_title("Loss scale", loc="left", fontsize=9.5)
        scales = [scale for scale in curve.get("loss_scale", []) if scale]
        if scales:
            _plot(below, curve["step"], curve["loss_scale"], color=VIOLET, drawstyle="steps-post")
            below.set_yscale("log", base=2)  # the scale is halved and doubled
            below.set_ylim(min(scales) / 2, max(scales) * 2)
            _powers_of_two(below.yaxis, min(scales), max(scales))
            for number, step in enumerate(training["skipped_steps"]):
                below.axvline(step, ymax=0.16, color=RED, linewidth=1.2, label=None if number else "skipped step")
            if training["skipped_steps"]:
                below.legend(loc="lower right", labelcolor=MUTED, handlelength=0.8)
        # Minor ticks of a logarithmic axis lie between powers of two and would suggest values that a scale never has.
        below.minorticks_off()
        _tokens_axis(below, "step")
        return to_svg(figure, "schedule", "Learning rate and loss scale over the steps; skipped steps are marked")


def _powers_of_two(axis: Any, lowest: float, highest: float) -> None:
    """Set about four ticks such as 2¹⁶."""
    import math

    first, last = math.floor(math.log2(lowest)), math.ceil(math.log2(highest))
    # At most about four labels in a figure of this height.
    powers = range(first, last + 1, max(1, (last - first) // 3))
    superscript = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
    axis.set_ticks([2.0**power for power in powers], ["2" + str(power).translate(superscript) for power in powers])


def validation(facts: dict[str, Any]) -> SvgFigure | None:
    """Validation bits per byte with the n-gram baselines as horizontal lines."""
    training = facts["training"]
    if not training or not training["validation"] or "bits_per_byte" not in training["validation"]:
        return None
    curve = training["validation"]
    # Baselines fitted to the same training text; those of the base model, which this curve shows.
    measured = facts["evaluation"]["bits_per_byte"].get("base") or {}
    levels = {NGRAM_NAMES.get(name, name): value for name, value in measured.get("baselines", {}).items()}
    with canvas(2.9) as (figure, axis):
        _plot(axis, curve["tokens"], curve["bits_per_byte"], "o-", color=BLUE, markersize=4)
        # The label of a baseline is set at the right end, where the curve is flat.
        last = max(tokens for tokens in curve["tokens"] if tokens is not None)
        reached = next((bits for bits in reversed(curve["bits_per_byte"]) if bits is not None), 0.0)
        for name, level in levels.items():
            axis.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            side, aligned = (3, "bottom") if level > reached else (-4, "top")  # where the curve does not end
            axis.annotate(f"byte {name} {decimal(level, 2)}", (last, level), (0, side), textcoords="offset points",
                          ha="right", va=aligned, color=MUTED, fontsize=9)  # fmt: skip
        axis.set_ylabel("bits per byte")
        axis.margins(y=0.12)
        _tokens_axis(axis, "training tokens")
        return to_svg(figure, "validation", "Bits per byte of held-out text during training, and byte n-gram baselines")


def instruct(facts: dict[str, Any]) -> SvgFigure | None:
    """Loss on the assistant's tokens, in training and on held-out conversations."""
    curves = facts["instruct"]
    if not curves or "loss" not in curves["curve"]:
        return None
    curve, held_out = curves["curve"], curves["held_out"]
    with canvas(2.6) as (figure, axis):
        points = len(curve["loss"])
        if points > 40:  # fewer points are a readable line without smoothing
            _plot(axis, curve["step"], curve["loss"], color=BLUE, alpha=0.28, linewidth=0.9)
        smooth = _smooth(curve["loss"], max(1, points // 40) * 2) if points > 40 else curve["loss"]
        _plot(axis, curve["step"], smooth, color=BLUE, label="training loss")
        if held_out["loss"]:
            _plot(axis, held_out["step"], held_out["loss"], "o-", color=ORANGE, markersize=4.5, linewidth=1.2,
                  label="held-out conversations")  # fmt: skip
        axis.set_ylabel("nats per token")
        # From 0: the distance between training and held-out loss shows overfitting only on a full scale.
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper right", labelcolor=MUTED)
        _tokens_axis(axis, "step")
        return to_svg(figure, "instruct", "Instruct: loss on the assistant's tokens, in training and held out")
