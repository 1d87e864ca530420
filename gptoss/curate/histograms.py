"""Distributions of what the documents of a source measure, before the rules and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

EDGES: dict[str, list[float]] = {
    "words": [0, *(step * 10**power for power in range(6) for step in (1, 2, 5)), 1_000_000],
    "mean_word_length": [number / 2 for number in range(31)],
    "alphabetic_word_fraction": [number / 20 for number in range(21)],
    "duplicate_line_fraction": [number / 20 for number in range(21)],
}
"""Of each measure, the edges of its bins; the last bin holds its upper edge and everything above."""

Counts = dict[str, Counter[str]]
"""Documents by `MEASURE/in` or `MEASURE/kept`, then by bin (its number, or a language)."""


def counted(
    measures: Mapping[str, npt.NDArray[np.float64]], languages: list[str], kept: npt.NDArray[np.bool_]
) -> Counts:
    """How the documents of a batch are spread: of each measure float64 [documents], NaN or no array where the rules did
    not need it; `kept` bool [documents]."""
    result = {
        "language/in": Counter(languages),
        "language/kept": Counter(language for language, stays in zip(languages, kept.tolist(), strict=True) if stays),
    }
    for name in EDGES:
        values = measures.get(name, np.full(len(kept), np.nan))
        result |= {f"{name}/in": _binned(name, values), f"{name}/kept": _binned(name, values[kept])}
    return result


def _binned(name: str, values: npt.NDArray[np.float64]) -> Counter[str]:
    edges = EDGES[name]
    measured = values[~np.isnan(values)]
    bins = np.clip(np.searchsorted(edges, measured, side="right") - 1, 0, len(edges) - 2)
    places, counts = np.unique(bins, return_counts=True)
    return Counter({str(place): count for place, count in zip(places.tolist(), counts.tolist(), strict=True)})


def merged(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """The sum of several counts."""
    total: Counts = {f"{name}/{key}": Counter() for name in ("language", *EDGES) for key in ("in", "kept")}
    for part in parts:
        for key, counts in part.items():
            total[key].update(counts)
    return total


def distributions(total: Counts) -> dict[str, dict[str, list[float]]]:
    """`{measure: {"edges": [...], "in": [...], "kept": [...]}}`: n + 1 edges for n bins."""
    result: dict[str, dict[str, list[float]]] = {}
    for name, edges in EDGES.items():
        bins = [str(place) for place in range(len(edges) - 1)]
        result[name] = {"edges": edges, **{k: [total[f"{name}/{k}"][place] for place in bins] for k in ("in", "kept")}}
    return result


def languages(total: Counts) -> dict[str, dict[str, int]]:
    """`{language: {"in": documents, "kept": documents}}`."""
    return {name: {key: total[f"language/{key}"][name] for key in ("in", "kept")} for name in total["language/in"]}
