"""Find which documents duplicate which: from Parquet files of documents to a decision per document.

The steps pass files to each other in a state folder, so that a run that was stopped continues: signatures of each part,
exact duplicates, candidate pairs per band, shingle sets of the documents in pairs, edges. In the memory of this process
are some bytes per document, and the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from gptoss.config.cluster import ClusterConfig
from gptoss.config.dedup import DedupConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.candidates import find_candidate_pairs, find_exact_duplicates, range_bits
from gptoss.dedup.corpus import Corpus, Part
from gptoss.dedup.decisions import DedupDecisions
from gptoss.dedup.increments import known_parts
from gptoss.dedup.shingle_sets import write_shingle_sets
from gptoss.dedup.signatures import band_name, write_signatures
from gptoss.dedup.star_clusters import star_clusters
from gptoss.dedup.verification import plan_verification, unpack_pairs, verify_pairs
from gptoss.executor.tasks import Result, run_tasks
from gptoss.text.arrays import Flags, Floats, Integers

# Bytes that a step reads per document or pair, or equivalents in time, by which the executor decides whether to start
# workers. Measured: verifying a pair takes as long as reading 128 bytes of documents and computing their signatures.
_EXACT_KEY_BYTES = 24
_BAND_KEY_BYTES = 16
_PAIR_BYTES = 128
# Fraction of this step spent reading documents; paid even if no document needs a set.
_READING_SHARE = 0.25


def find_duplicates(
    parts: Sequence[Path], config: DedupConfig, seed: int, state: Path, cluster: ClusterConfig | None = None
) -> DedupDecisions:
    """Decide for every document in `parts` (tables with the columns `id` and `text`).

    `state` is a folder that belongs to exactly these inputs: called again with it, the work continues where it stopped.
    """
    tasks = DedupTasks(state, cluster)
    corpus = compute_signatures(parts, config, seed, tasks)
    duplicates, preferred = collect_exact_duplicates(corpus, tasks)
    pair_files = collect_candidate_pairs(corpus, duplicates, config.bands, tasks)
    # Shingle sets follow the pairs, as most documents are in no pair and a set is larger than its text (8 bytes per
    # word). The price: documents that are in a pair are read and split into words a second time.
    needs_set, limits = plan_verification(pair_files, corpus.total)
    if config.index:  # the index holds the sets of all documents that are kept
        needs_set[: corpus.new_documents] = True
        needs_set[duplicates] = False
    compute_shingle_sets(parts, corpus, needs_set, config, tasks)
    edges, similarities, counts = verify_candidates(corpus, pair_files, limits, config.threshold, tasks)
    return resolve_clusters(corpus, edges, similarities, duplicates, preferred, counts)


@dataclass(frozen=True)
class DedupTasks:
    """Where the tasks of all steps run and keep their files."""

    state: Path
    cluster: ClusterConfig | None

    def run(
        self, name: str, function: Callable[..., Result], tasks: Sequence[dict[str, Any]], input_bytes: int
    ) -> list[Result]:
        """`run_tasks` on this cluster and in this folder."""
        return run_tasks(
            f"dedup_{name}", function, tasks, self.state,
            cluster=self.cluster, input_bytes=input_bytes, releases_gil=True,
        )  # fmt: skip

    def file(self, name: str) -> str:
        """Path of a file of these steps."""
        path = self.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def write_flags(self, name: str, flags: Flags) -> str:
        """Write one byte per document; returns the path."""
        path = self.file(name)
        with atomic_file(Path(path)) as partial:
            flags.tofile(partial)
        return path


def compute_signatures(parts: Sequence[Path], config: DedupConfig, seed: int, tasks: DedupTasks) -> Corpus:
    """Compute the signatures of all new documents, and append the known documents."""
    files = [tasks.file(f"signatures/{number:05d}.parquet") for number in range(len(parts))]
    shared = {"ngram": config.ngram, "bands": config.bands, "rows": config.rows, "seed": seed}
    calls = [{"part": str(part), "target": file, **shared} for part, file in zip(parts, files, strict=True)]
    # Positions follow from the counts in the results, so that parts can be processed in any order.
    results = tasks.run("signatures", write_signatures, calls, _size(parts))
    new_parts: list[Part] = []
    first = 0
    for number, (file, result) in enumerate(zip(files, results, strict=True)):
        new_parts.append(Part(file, tasks.file(f"sets/{number:05d}.u64"), first, result["documents"], known=False))
        first += result["documents"]
    return Corpus((*new_parts, *known_parts(config, seed, first)))


def collect_exact_duplicates(corpus: Corpus, tasks: DedupTasks) -> tuple[Integers, Integers]:
    """(duplicate, preferred): each new document with the same words as a preferred one, and that document."""
    bits = range_bits(corpus.total)
    saved = corpus.save(tasks.state)
    files = [tasks.file(f"exact/{key_range:05d}.u64") for key_range in range(1 << bits)]
    calls = [
        {"corpus": saved, "bits": bits, "key_range": key_range, "target": file} for key_range, file in enumerate(files)
    ]
    # Exact duplicates first: they would only add identical candidate pairs to be verified.
    tasks.run("exact_duplicates", find_exact_duplicates, calls, _EXACT_KEY_BYTES * corpus.total)
    duplicates, preferred = np.concatenate([np.fromfile(file, dtype="<i8").reshape(-1, 2) for file in files]).T
    return duplicates, preferred


def collect_candidate_pairs(corpus: Corpus, exact_duplicates: Integers, bands: int, tasks: DedupTasks) -> list[str]:
    """The files of the pairs that share the key of a band. Exact duplicates take no part: whatever is decided for the
    preferred document with the same words holds for them."""
    eligible = np.ones(corpus.total, dtype=np.bool_)
    eligible[exact_duplicates] = False
    bits = range_bits(corpus.total)
    shared = {
        "corpus": corpus.save(tasks.state), "bits": bits, "eligible": tasks.write_flags("eligible.u8", eligible),
    }  # fmt: skip
    calls: list[dict[str, Any]] = [
        {"band": band, "key_range": key_range, "target": tasks.file(f"pairs/{band}-{key_range:05d}.u64"), **shared}
        for band in map(band_name, range(bands))
        for key_range in range(1 << bits)
    ]
    tasks.run("candidate_pairs", find_candidate_pairs, calls, _BAND_KEY_BYTES * len(calls) * corpus.total)
    return [call["target"] for call in calls]


def compute_shingle_sets(
    parts: Sequence[Path], corpus: Corpus, needs_set: Flags, config: DedupConfig, tasks: DedupTasks
) -> None:
    """Write the shingle sets of the new documents that need one; those of known documents exist."""
    flags = tasks.write_flags("needs_set.u8", needs_set)
    # Files without a single such document are not read again.
    described = [
        (path, part)
        for path, part in zip(parts, corpus.parts, strict=False)
        if config.index or needs_set[part.positions].any()
    ]
    calls = [
        {"part": str(path), "ngram": config.ngram, "first": part.first, "count": part.count, "flags": flags,
         "target": part.shingle_sets}
        for path, part in described
    ]  # fmt: skip
    share = int(needs_set[: corpus.new_documents].sum()) / max(1, corpus.new_documents)
    input_bytes = int(max(_READING_SHARE, share) * _size([path for path, _ in described]))
    tasks.run("shingle_sets", write_shingle_sets, calls, input_bytes)


def verify_candidates(
    corpus: Corpus, pair_files: list[str], limits: list[int], threshold: float, tasks: DedupTasks
) -> tuple[Integers, Floats, dict[str, int]]:
    """The pairs of similar documents, int64 [edges, 2], preferred document first; their similarities; and counts."""
    shared = {"corpus": corpus.save(tasks.state), "pairs": pair_files, "threshold": threshold}
    calls: list[dict[str, Any]] = [
        {"low": low, "high": high, "target": tasks.file(f"edges/{number:05d}.parquet"), **shared}
        for number, (low, high) in enumerate(pairwise(limits))
    ]
    pairs = _size(map(Path, pair_files)) // 8
    # A task reads its pairs from the files of all bands: most pairs share several bands, but are verified once.
    results = tasks.run("verify_pairs", verify_pairs, calls, _PAIR_BYTES * pairs)
    tables = [pq.read_table(call["target"]) for call in calls]
    edges = unpack_pairs(np.concatenate([np.asarray(table.column("edge"), dtype=np.uint64) for table in tables]))
    counts = {
        "candidate_pairs": sum(result["pairs"] for result in results),
        "verified_pairs": sum(result["edges"] for result in results),
    }
    return edges, np.concatenate([np.asarray(table.column("jaccard")) for table in tables]), counts


def resolve_clusters(
    corpus: Corpus,
    edges: Integers,
    similarities: Floats,
    exact_duplicates: Integers,
    preferred: Integers,
    counts: dict[str, int],
) -> DedupDecisions:
    """Decide for every document: star clusters over the documents on edges, then the exact duplicates, each of which
    follows the `preferred` document with the same words."""
    # Renumber the documents on edges in order of preference, as star_clusters requires.
    involved = np.unique(edges)
    order = np.lexsort((involved, corpus.ranks(involved)))
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    center, similarity = star_clusters(len(involved), number[np.searchsorted(involved, edges)], similarities)
    near_duplicates = np.flatnonzero(center >= 0)

    duplicate_of = np.full(corpus.new_documents, -1, dtype=np.int64)
    jaccard = np.zeros(corpus.new_documents)
    exact = np.zeros(corpus.new_documents, dtype=np.bool_)
    removed = involved[order[near_duplicates]]
    duplicate_of[removed] = involved[order[center[near_duplicates]]]
    jaccard[removed] = similarity[near_duplicates]
    # If the preferred document is itself a near duplicate, its exact duplicates are near duplicates of the kept one.
    preferred_removed = np.zeros(len(preferred), dtype=np.bool_)
    new = preferred < corpus.new_documents
    preferred_removed[new] = duplicate_of[preferred[new]] >= 0
    followed = np.where(preferred_removed, preferred, 0)  # known documents have no row in the arrays
    duplicate_of[exact_duplicates] = np.where(preferred_removed, duplicate_of[followed], preferred)
    jaccard[exact_duplicates] = np.where(preferred_removed, jaccard[followed], 1.0)
    exact[exact_duplicates] = ~preferred_removed
    return DedupDecisions(corpus, duplicate_of, jaccard, exact, counts)


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
