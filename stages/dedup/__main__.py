"""Remove exact and near duplicates over all sources.

In: `data/curated/SOURCE` of every source. Out: `data/deduped`, all sources in order of name, and `removed.parquet`,
in which each removed document names the kept document it matches and their measured Jaccard similarity.
Wrong: a source that loses more than `dedup.max_removed_fraction` fails the stage before anything is written.

Method: exact duplicates by a 128-bit hash of the normalised text; near duplicates by MinHash over word n-grams with
banding (Broder 1997; Lee et al. 2022, section 4.2), each candidate pair verified by its exact Jaccard similarity, and
star clusters around the longest text, as chains of similar pairs would join documents that are not similar.
The steps hand each other files, and bands are read one at a time, so memory holds some numbers a document, not texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages import paths
from stages.batches import bounded_batches, document_writer, removed_rows, removed_writer
from stages.dedup.candidates import candidate_pairs, exact_duplicates, preference
from stages.dedup.cluster import Matches, ShingleSets, star_clusters, verify, with_exact
from stages.dedup.minhash import Permutations
from stages.dedup.shingles import shingle
from stages.dedup.signatures import band_name, read_signatures, write_signatures
from stages.dedup.words import Hashes, Integers, find_words
from stages.entry import Metrics, run_stage
from stages.errors import DataError
from stages.progress import progress
from stages.settings import Dedup, Settings
from stages.storage import atomic_folder
from stages.tracking import StageRun


def dedup(settings: Settings, run: StageRun) -> Metrics:
    """Run the stage; returns documents kept and removed by source and reason, pairs, and sizes of clusters."""
    sources = sorted(settings.sources)
    with scratch(run.state) as work:
        corpus = sign_all(sources, settings.dedup, settings.seed, work)
        fate, counts = find_duplicates(corpus, settings.dedup, work)
        check_losses(corpus, fate, settings.dedup.max_removed_fraction)
        write(corpus, fate)
    return counts | summary(corpus, fate)


@dataclass(frozen=True)
class Corpus:
    """All documents, by position: source after source, each in its own order."""

    sources: list[str]
    counts: list[int]
    """Documents of each source."""
    signatures: list[Path]
    bands: int
    ids: pa.Array
    sizes: npt.NDArray[np.int64]
    """UTF-8 bytes of each text."""

    def source_slices(self) -> Iterator[tuple[str, slice]]:
        """Each source with the positions of its documents."""
        ends = np.cumsum(self.counts).tolist()
        for source, count, end in zip(self.sources, self.counts, ends, strict=True):
            yield source, slice(end - count, end)

    def texts(self, description: str) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of whole documents, each with the position of its first."""
        position = 0
        for source in self.sources:
            for batch in progress(bounded_batches(paths.curated(source)), f"{description} {source}", unit="batches"):
                yield position, batch
                position += batch.num_rows


@dataclass(frozen=True)
class Fate:
    """What happens to each document, by position. `duplicate_of` int64: position of the kept document it duplicates,
    -1 when kept; `jaccard` float64; `exact` bool: removed because the words are the same."""

    duplicate_of: Integers
    jaccard: npt.NDArray[np.float64]
    exact: npt.NDArray[np.bool_]

    @property
    def removed(self) -> npt.NDArray[np.bool_]:
        """Whether a document is removed, bool [documents]."""
        return self.duplicate_of >= 0


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """An empty folder for intermediate tables, removed afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sign_all(sources: list[str], shape: Dedup, seed: int, work: Path) -> Corpus:
    """Write the signatures of every document, one file a source."""
    permutations = Permutations.seeded(seed, shape.bands, shape.rows)
    files = [work / f"signatures-{source}.parquet" for source in sources]
    counts = []
    for source, path in zip(sources, files, strict=True):
        batches = bounded_batches(paths.curated(source), ["id", "text"])
        shown = progress(batches, f"dedup: signing {source}", unit="batches")
        counts.append(write_signatures(path, shown, shape.ngram, permutations))
    table = read_signatures(files, ["id", "bytes"])
    return Corpus(sources, counts, files, shape.bands, _column(table, "id"), _column(table, "bytes").to_numpy())


def find_duplicates(corpus: Corpus, shape: Dedup, work: Path) -> tuple[Fate, dict[str, int]]:
    """Candidates, verification, clusters: inside, documents are numbered by preference."""
    order = preference(corpus.ids, pa.array(corpus.sizes))
    exact = exact_duplicates(*(_numbers(corpus, name)[order] for name in ("exact_high", "exact_low")))
    bands = (_numbers(corpus, band_name(band))[order] for band in range(corpus.bands))
    pairs = candidate_pairs(progress(bands, "dedup: bands", total=corpus.bands, unit="bands"), exact < 0)
    sets = ShingleSets(work / "shingles.u64", shingle_sets(corpus, order, np.unique(pairs), shape.ngram))
    shown = progress(one_by_one(pairs), "dedup: verifying", total=len(pairs), unit="pairs")
    edges, similarities = verify(shown, sets, shape.threshold)
    matches = with_exact(star_clusters(len(order), edges, similarities), exact)
    return _by_position(matches, exact, order), {"candidate_pairs": len(pairs), "verified_pairs": len(edges)}


def one_by_one(pairs: Integers) -> Iterator[tuple[int, int]]:
    """The rows of int64 [pairs, 2] as Python numbers, some thousands in memory at a time."""
    for start in range(0, len(pairs), 65_536):
        yield from map(tuple, pairs[start : start + 65_536].tolist())


def shingle_sets(corpus: Corpus, order: Integers, wanted: Integers, ngram: int) -> Iterator[tuple[int, Hashes]]:
    """Read the texts again and yield (document, shingle set) of those that are in a pair."""
    if len(wanted) == 0:
        return
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    needed = np.zeros(len(order), dtype=np.bool_)
    needed[order[wanted]] = True
    for position, batch in corpus.texts("dedup: comparing"):
        rows = np.flatnonzero(needed[position : position + batch.num_rows])
        if len(rows):
            shingles = shingle(find_words(batch.column("text").take(pa.array(rows))), ngram)
            for number, row in enumerate(rows.tolist()):
                yield int(rank[position + row]), shingles.distinct(number)


def check_losses(corpus: Corpus, fate: Fate, limit: float) -> None:
    """The alarm: one source must not vanish unnoticed. Raises `DataError` with the arithmetic."""
    for source, positions in corpus.source_slices():
        total, lost = positions.stop - positions.start, int(fate.removed[positions].sum())
        if total and lost / total > limit:
            exact = int(fate.exact[positions].sum())
            kept, copies = np.unique(fate.duplicate_of[positions][fate.removed[positions]], return_counts=True)
            raise DataError(
                f"dedup would remove {lost} of {total} documents of source {source} ({exact} exact, {lost - exact} "
                f"near duplicates): {lost / total:.3f} > dedup.max_removed_fraction = {limit:g}; "
                f"most ({copies.max()}) duplicate document {corpus.ids[int(kept[copies.argmax()])]}",
                "look at that document: if it is boilerplate, mend how the source is ingested; "
                "if the source really repeats itself, raise dedup.max_removed_fraction in params.yaml",
            )


def write(corpus: Corpus, fate: Fate) -> None:
    """Write `data/deduped`."""
    with (
        atomic_folder(paths.DEDUPED) as folder,
        document_writer(folder) as kept,
        removed_writer(folder) as removed,
    ):
        for position, batch in corpus.texts("dedup: writing"):
            here = slice(position, position + batch.num_rows)
            gone = fate.removed[here]
            kept.write(batch.filter(pa.array(~gone)))
            partner = corpus.ids.take(pa.array(fate.duplicate_of[here][gone]))
            reason = pc.if_else(pa.array(fate.exact[here][gone]), "exact", "fuzzy")
            similarity = fate.jaccard[here][gone]
            detail = pa.array([f"jaccard {value:.4f}" for value in similarity], pa.string())
            rows = batch.filter(pa.array(gone))
            removed.write(removed_rows(rows, reason, detail, partner, pa.array(similarity)))


def summary(corpus: Corpus, fate: Fate) -> dict[str, object]:
    """What was kept and removed, per source and in all, and how large the clusters are."""
    sources = {source: _losses(corpus, fate, positions) for source, positions in corpus.source_slices()}
    _, copies = np.unique(fate.duplicate_of[fate.removed], return_counts=True)
    sizes, clusters = np.unique(np.minimum(copies + 1, LARGE_CLUSTER), return_counts=True)
    return {
        "sources": sources,
        "all": _losses(corpus, fate, slice(0, len(corpus.ids))),
        "clusters": {
            f"size_{size:02d}" + ("_or_more" if size == LARGE_CLUSTER else ""): count
            for size, count in zip(sizes.tolist(), clusters.tolist(), strict=True)
        },
        "largest_cluster": int(copies.max(initial=0)) + 1 if len(copies) else 0,
    }


LARGE_CLUSTER = 10
"""Clusters from this size on are counted together."""


def _losses(corpus: Corpus, fate: Fate, positions: slice) -> dict[str, int]:
    removed, exact, sizes = fate.removed[positions], fate.exact[positions], corpus.sizes[positions]
    return {
        "documents_in": len(removed),
        "documents_kept": int((~removed).sum()),
        "removed_exact": int(exact.sum()),
        "removed_fuzzy": int((removed & ~exact).sum()),
        "bytes_in": int(sizes.sum()),
        "bytes_kept": int(sizes[~removed].sum()),
    }


def _by_position(matches: Matches, exact: Integers, order: Integers) -> Fate:
    """From numbers by preference back to positions."""
    removed = matches.partner >= 0
    fate = Fate(np.full(len(order), -1), np.zeros(len(order)), np.zeros(len(order), dtype=np.bool_))
    fate.duplicate_of[order[removed]] = order[matches.partner[removed]]
    fate.jaccard[order] = matches.similarity
    # An exact copy of a document that is itself a near duplicate matches the kept one fuzzily.
    fate.exact[order] = removed & (exact >= 0) & (matches.partner == exact)
    return fate


def _numbers(corpus: Corpus, column: str) -> npt.NDArray[np.uint64]:
    return np.asarray(_column(read_signatures(corpus.signatures, [column]), column), dtype=np.uint64)


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


if __name__ == "__main__":
    run_stage(dedup, "dedup")
