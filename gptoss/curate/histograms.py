"""Histograms of what the documents of a source measure, before filtering and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

# Edges 0, 1, 2, 5, 10, ... for word counts, which span six orders of magnitude.
EDGES: dict[str, list[float]] = {
    "words": [0, *(step * 10**power for power in range(6) for step in (1, 2, 5)), 1_000_000],
    "mean_word_length": [number / 2 for number in range(31)],
    "alphabetic_word_fraction": [number / 20 for number in range(21)],
    "duplicate_line_fraction": [number / 20 for number in range(21)],
}
"""The edges of the bins by measure; the last bin includes its upper edge and everything above."""

Counts = dict[str, Counter[str]]
"""Documents by `MEASURE/in` or `MEASURE/kept`, then by bin: its number as a string (JSON), or a language."""


def count_documents(
    measures: Mapping[str, npt.NDArray[np.float64]], languages: list[str], kept: npt.NDArray[np.bool_]
) -> Counts:
    """The histograms of a batch. Measures are float64 [documents]; NaN, or no array, where the rules did not need the
    measure. `kept` is bool [documents]."""
    # Every document is counted under `in`, whichever filter removes it, so the two histograms show what filtering did.
    result = {
        "language/in": Counter(languages),
        "language/kept": Counter(np.array(languages, dtype=object)[kept].tolist()),
    }
    for name in EDGES:
        values = measures.get(name, np.full(len(kept), np.nan))
        result |= {f"{name}/in": _bin_counts(name, values), f"{name}/kept": _bin_counts(name, values[kept])}
    return result


def _bin_counts(name: str, values: npt.NDArray[np.float64]) -> Counter[str]:
    edges = EDGES[name]
    # Not np.histogram: it drops values above the last edge and treats that edge differently from the others.
    bins = np.searchsorted(edges, values[~np.isnan(values)], side="right") - 1
    return Counter(map(str, np.clip(bins, 0, len(edges) - 2).tolist()))


def merge(histograms: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """The sum of several histograms; every measure is present, also when there are none."""
    total: Counts = {f"{name}/{key}": Counter() for name in ("language", *EDGES) for key in ("in", "kept")}
    for each in histograms:
        for key, counts in each.items():
            total[key].update(counts)
    return total


def distributions(total: Counts) -> dict[str, dict[str, list[float]]]:
    """`{measure: {"edges": [...], "in": [...], "kept": [...]}}`: n + 1 edges for n bins."""
    return {
        name: {
            "edges": edges,
            **{
                key: [total[f"{name}/{key}"][str(number)] for number in range(len(edges) - 1)] for key in ("in", "kept")
            },
        }
        for name, edges in EDGES.items()
    }


def languages(total: Counts) -> dict[str, dict[str, int]]:
    """`{language: {"in": documents, "kept": documents}}`."""
    return {name: {key: total[f"language/{key}"][name] for key in ("in", "kept")} for name in total["language/in"]}
