"""Training curves from the CSV files that DVC plots, with as many points as a figure can show."""

from __future__ import annotations

import csv
import math
from typing import Any

from gptoss.core import paths

PLOTS = paths.REPORTS / "plots"
# Points that a curve keeps: more than a page-wide figure resolves, and facts.json stays small at any number of steps.
MAX_POINTS = 300
MAX_SKIPPED_STEPS = 300

Curve = dict[str, list[float | None]]


def read(name: str) -> Curve | None:
    """Columns of `reports/plots/NAME.csv` as numbers (blank and non-finite values are None); None without rows."""
    path = PLOTS / f"{name}.csv"
    if not path.exists():
        return None
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {column: [_number(row[column]) for row in rows] for column in rows[0]} if rows else None


def _number(field: str | None) -> float | None:
    if field is None or not field.strip():
        return None
    value = float(field)
    # A diverged run logs infinities and NaN, which JSON cannot hold and a figure cannot show.
    return value if math.isfinite(value) else None


def thin(curve: Curve, averaged: tuple[str, ...], points: int = MAX_POINTS) -> Curve:
    """At most `points` rows, each for a bucket of equal width: the mean of the `averaged` columns, the last value of
    the others. The mean keeps the level of a noisy curve; every n-th point would keep its noise."""
    rows = len(next(iter(curve.values())))
    # Edges by rounding, so that buckets differ by at most one row; the set removes those that fall together.
    edges = (
        sorted({round(rows * (i + 1) / points) for i in range(points)} - {0}) if rows > points else range(1, rows + 1)
    )
    thinned: Curve = {column: [] for column in curve}
    start = 0
    for end in edges:
        for column, values in curve.items():
            known = [value for value in values[start:end] if value is not None]
            if column in averaged:
                # fsum: correctly rounded, so the same wherever the report is made.
                thinned[column].append(_rounded(math.fsum(known) / len(known)) if known else None)
            else:
                thinned[column].append(_rounded(known[-1]) if known else None)
        start = end
    return thinned


def _rounded(value: float) -> float:
    """Seven significant digits: enough for a page, and the same on every machine."""
    return float(f"{value:.7g}")


def training() -> dict[str, Any] | None:
    """The pretraining curve, its validations, and the steps that loss scaling skipped."""
    curve = read("pretrain")
    if curve is None:
        return None
    # The column counts the skipped steps since the start, so a step was skipped where it rises.
    skips = [count or 0 for count in curve.get("skipped", [])]
    skipped_steps = [step for step, now, before in zip(curve["step"], skips, [0, *skips], strict=False) if now > before]
    columns = {column: values for column, values in curve.items() if column != "skipped"}
    validation = read("validation")
    return {
        "curve": thin(columns, averaged=("loss", "gradient_norm")),
        "skipped": int(max(skips, default=0)),
        "skipped_steps": skipped_steps[:MAX_SKIPPED_STEPS],
        "validation": thin(validation, averaged=()) if validation else None,
    }


def instruct() -> dict[str, Any] | None:
    """The Instruct curve and the losses on held-out conversations."""
    curve = read("instruct")
    if curve is None:
        return None
    # Measured only after some steps: in the thinned curve its points would be lost.
    held_out = curve.pop("held_out_loss", [])
    measured = [(step, loss) for step, loss in zip(curve["step"], held_out, strict=False) if loss is not None]
    return {
        "curve": thin(curve, averaged=("loss",)),
        "held_out": {"step": [step for step, _ in measured], "loss": [loss for _, loss in measured]},
    }
