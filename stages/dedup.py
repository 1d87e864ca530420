"""Remove exact and near duplicates over all sources, and duplicates of what earlier runs kept.

In: `data/curated/SOURCE` of every source, and the indexes in `dedup.known`. Out: `data/deduped`: part N of all
sources in order of name becomes `documents-N.parquet` and `removed-N.parquet`, in which each removed document names the
kept document it matches and their measured Jaccard similarity; with `dedup.substrings` passages that occur earlier are
cut out of the documents kept, and `passages.parquet` shows some of them; with `dedup.index` also `index`, what a later
run needs to know about the documents kept here. Wrong: a source that loses more than `dedup.max_removed_fraction` fails
the stage before anything is written; an index that was made with other settings.

Method: exact duplicates by a 128-bit hash of the normalised text; near duplicates by MinHash over word n-grams with
banding (Broder 1997; Lee et al. 2022, section 4.2), each candidate pair verified by its exact Jaccard similarity, and
star clusters around the longest text, as chains of similar pairs would join documents that are not similar.
Every step is a task a file, or a task a range of keys, so memory holds some numbers a document, not texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gptoss.config.dedup import SubstringsConfig
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import assembled_folder
from gptoss.core.errors import DataError
from gptoss.dedup.find_duplicates import DedupDecisions, find_duplicates
from gptoss.dedup.increments import write_index
from gptoss.dedup.outputs import totals, write_fates, write_part
from gptoss.dedup.substrings import cut_repeats
from gptoss.executor.tasks import Result, run_tasks
from gptoss.tables.batches import part_files
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

LARGE_CLUSTER = 10
"""Clusters from this size on are counted together."""


def dedup(settings: Settings, run: StageRun) -> Metrics:
    """Run the stage; returns documents kept and removed by source and reason, pairs, and sizes of clusters."""
    sources = {source: part_files(paths.curated(source)) for source in sorted(settings.sources)}
    files = [file for found in sources.values() for file in found]
    fate = find_duplicates(files, settings.dedup, settings.seed, run.state)
    check_losses(sources, fate, settings.dedup.max_removed_fraction)
    fates = write_fates(fate, run.state / "fates")
    results = write(files, fates, run.state)
    index = write_index(fate, fates, settings.dedup, settings.seed, run.state) if settings.dedup.index else []
    kept, cuts = cut(len(files), settings.dedup.substrings, run.state)
    assemble(kept, index, run.state)
    return fate.counts | summary(sources, results, cuts) | clusters(fate)


def check_losses(sources: dict[str, list[Path]], fate: DedupDecisions, limit: float) -> None:
    """The alarm: one source must not vanish unnoticed. Raises `DataError` with the arithmetic."""
    first = number = 0
    for source, files in sources.items():
        total = sum(part.count for part in fate.corpus.parts[number : number + len(files)])
        here = slice(first, first + total)
        first, number = first + total, number + len(files)
        lost = int(fate.removed[here].sum())
        if total and lost / total > limit:
            exact = int(fate.exact[here].sum())
            kept, copies = np.unique(fate.duplicate_of[here][fate.removed[here]], return_counts=True)
            most = fate.corpus.ids(kept[copies.argmax()][None])[0]
            raise DataError(
                f"dedup would remove {lost} of {total} documents of source {source} ({exact} exact, {lost - exact} "
                f"near duplicates): {lost / total:.3f} > dedup.max_removed_fraction = {limit:g}; "
                f"most ({copies.max()}) duplicate document {most}",
                "look at that document: if it is boilerplate, mend how the source is ingested; "
                "if the source really repeats itself, raise dedup.max_removed_fraction in params.yaml",
            )


def write(files: list[Path], fates: list[Path], state: Path) -> list[Result]:
    """Write the kept and the removed documents of each part; returns the counts of each."""
    tasks = [
        {"part": str(file), "fates": str(removed), "kept": str(document_file(state, number, "documents")),
         "removed": str(document_file(state, number, "removed"))}
        for number, (file, removed) in enumerate(zip(files, fates, strict=True))
    ]  # fmt: skip
    return run_tasks(
        "dedup_write", write_part, tasks, state, input_bytes=sum(file.stat().st_size for file in files), releases_gil=True
    )


def document_file(state: Path, number: int, kind: str) -> Path:
    """Where a part of the output is made."""
    return state / "written" / f"{kind}-{number:05d}.parquet"


def cut(count: int, settings: SubstringsConfig | None, state: Path) -> tuple[list[Path], dict[str, Any]]:
    """The kept documents of each part, without repeated passages where that is asked for, and what was cut."""
    kept = [document_file(state, number, "documents") for number in range(count)]
    return cut_repeats(kept, settings, state) if settings else (kept, {})


def assemble(kept: list[Path], index: list[Path], state: Path) -> None:
    """Put `data/deduped` together from the files that the tasks made."""
    with assembled_folder(paths.DEDUPED) as add:
        for number, file in enumerate(kept):
            add(f"documents-{number:05d}.parquet", file)
            add(f"removed-{number:05d}.parquet", document_file(state, number, "removed"))
        if (passages := state / "passages.parquet").exists():
            add(passages.name, passages)
    if index:
        with assembled_folder(paths.DEDUPED / "index") as add:
            for file in index:
                add(file.name, file)


def summary(sources: dict[str, list[Path]], results: list[Result], cuts: dict[str, Any]) -> dict[str, Any]:
    """Counts of each source and of all, and of what was cut out of the documents kept."""
    counts, number = {}, 0
    for source, files in sources.items():
        counts[source] = totals(results[number : number + len(files)])
        number += len(files)
    total = totals(results)
    if cuts:
        total["bytes_kept"] -= cuts["bytes_cut"]
        for source, lost in cuts["sources"].items():
            counts[source]["bytes_kept"] -= lost["bytes_cut"]
    return {"sources": counts, "all": total} | ({"passages": cuts} if cuts else {})


def clusters(fate: DedupDecisions) -> dict[str, Any]:
    """How many clusters there are of each size, and the largest size."""
    _, copies = np.unique(fate.duplicate_of[fate.removed], return_counts=True)
    sizes, counts = np.unique(np.minimum(copies + 1, LARGE_CLUSTER), return_counts=True)
    return {
        "clusters": {
            f"size_{size:02d}" + ("_or_more" if size == LARGE_CLUSTER else ""): count
            for size, count in zip(sizes.tolist(), counts.tolist(), strict=True)
        },
        "largest_cluster": int(copies.max(initial=0)) + 1 if len(copies) else 0,
    }


if __name__ == "__main__":
    run_stage(dedup, "dedup")
