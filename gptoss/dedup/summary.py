"""The metrics of the stage, and the limit on what it may remove from a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gptoss.core.errors import DataError
from gptoss.dedup.decisions import DedupDecisions
from gptoss.executor.tasks import Result

T = TypeVar("T")

# Clusters of this many documents and more are counted together.
LARGE_CLUSTER = 10


def by_source(sources: Mapping[str, Sequence[Path]], per_part: Sequence[T]) -> dict[str, list[T]]:
    """Values per part, where parts are in the order of `sources`, grouped by source."""
    values = iter(per_part)
    return {source: list(islice(values, len(files))) for source, files in sources.items()}


def check_removed_fractions(sources: Mapping[str, Sequence[Path]], decisions: DedupDecisions, limit: float) -> None:
    """A source must not disappear unnoticed, for example because all its documents begin with the same boilerplate.

    Errors: `DataError` with the arithmetic and the most duplicated document.
    """
    for source, parts in by_source(sources, decisions.corpus.parts).items():
        positions = slice(parts[0].first, parts[-1].first + parts[-1].count)
        removed = decisions.removed[positions]
        total, lost = len(removed), int(removed.sum())
        if total and lost / total > limit:
            exact = int(decisions.exact[positions].sum())
            # The usual cause is boilerplate: one document then has most of the duplicates, and explains the loss.
            kept, copies = np.unique(decisions.duplicate_of[positions][removed], return_counts=True)
            most_duplicated = decisions.corpus.ids(kept[copies.argmax()][None])[0]
            raise DataError(
                f"dedup would remove {lost} of {total} documents of source {source} ({exact} exact, {lost - exact} "
                f"near duplicates): {lost / total:.3f} > dedup.max_removed_fraction = {limit:g}; "
                f"most ({copies.max()}) duplicate document {most_duplicated}",
                "look at that document: if it is boilerplate, fix how the source is ingested; "
                "if the source really repeats itself, raise dedup.max_removed_fraction in params.yaml",
            )


def summarize(
    sources: Mapping[str, Sequence[Path]],
    decisions: DedupDecisions,
    results: Sequence[Result],
    passages: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The metrics: counts per source and of all, pairs, sizes of clusters of duplicates, and removed passages."""
    total = sum_counts(results)
    counts = {source: sum_counts(parts) for source, parts in by_source(sources, results).items()}
    if passages is not None:
        # `bytes_kept` was counted before passages were removed from the kept documents.
        total["bytes_kept"] -= passages["bytes_cut"]
        for source, removed in passages["sources"].items():
            counts[source]["bytes_kept"] -= removed["bytes_cut"]
    return {
        **decisions.counts,
        "sources": counts,
        "all": total,
        **({} if passages is None else {"passages": passages}),
        **duplicate_cluster_sizes(decisions),
    }


def sum_counts(results: Sequence[Result]) -> dict[str, int]:
    """The sums of the counts of parts."""
    return {name: sum(result[name] for result in results) for name in results[0]}


def duplicate_cluster_sizes(decisions: DedupDecisions) -> dict[str, Any]:
    """The number of clusters of duplicates of each size, and the largest size. A cluster is a kept document and all
    documents that duplicate it."""
    # Every removed document names the center of its star, so counting names gives the sizes.
    _, copies = np.unique(decisions.duplicate_of[decisions.removed], return_counts=True)
    sizes, counts = np.unique(np.minimum(copies + 1, LARGE_CLUSTER), return_counts=True)
    return {
        "clusters": {
            f"size_{size:02d}" + ("_or_more" if size == LARGE_CLUSTER else ""): count
            for size, count in zip(sizes.tolist(), counts.tolist(), strict=True)
        },
        "largest_cluster": int(copies.max()) + 1 if len(copies) else 0,
    }
