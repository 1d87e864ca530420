"""Which documents duplicate which: from Parquet files of documents to the fate of each, by position.

The steps hand each other files in a state folder, so that a run that was stopped continues: signatures of each part,
copies, pairs that share a band, shingle sets of the documents in pairs, edges that hold. What is in memory here is some
bytes a document and the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from gptoss.config.cluster import ClusterConfig
from gptoss.config.dedup import DedupConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.candidates import find_copies, find_pairs, key_bits
from gptoss.dedup.corpus import Corpus, Part
from gptoss.dedup.increments import known_parts
from gptoss.dedup.shingle_sets import write_sets
from gptoss.dedup.signatures import band_name, write_signatures
from gptoss.dedup.star_clusters import star_clusters, unpacked, verify
from gptoss.executor.tasks import run_tasks
from gptoss.text.normalize import Hashes, Integers

Flags = npt.NDArray[np.bool_]

PAIRS_PER_TASK = 2**18
MIN_PAIRS_PER_TASK = 2**11
VERIFY_TASKS = 32
"""So many tasks at least, where there are pairs enough: a machine's cores then end at about the same time."""
BYTES_PER_PAIR = 128
"""To verify a pair takes the time in which so many bytes of documents are read and signed."""
SAMPLE = 64
"""Of the pairs every so many-th is looked at, to cut them into tasks."""


@dataclass(frozen=True)
class DedupDecisions:
    """What happens to each new document, by position: parts in the given order, rows in theirs.

    `duplicate_of` int64 [documents]: position of the kept document it duplicates, -1 when it is kept; positions from
    `len(duplicate_of)` on are documents that earlier runs kept. `jaccard` float64 [documents]: their similarity, 0 when
    it is kept. `exact` bool [documents]: removed because the words are the same.
    """

    corpus: Corpus
    duplicate_of: Integers
    jaccard: npt.NDArray[np.float64]
    exact: Flags
    counts: dict[str, int] = field(default_factory=dict)
    """`candidate_pairs` and `verified_pairs`."""

    @property
    def removed(self) -> Flags:
        """Whether a document is removed, bool [documents]."""
        return self.duplicate_of >= 0


def find_duplicates(
    parts: Sequence[Path], shape: DedupConfig, seed: int, state: Path, cluster: ClusterConfig | None = None
) -> DedupDecisions:
    """The fate of every document in `parts` (tables with columns `id` and `text`). `state` is a folder that belongs to
    exactly these inputs: called again with it, the work continues where it was stopped."""
    steps = Steps(state, cluster)
    corpus = compute_signatures(parts, shape, seed, steps)
    copies, best = exact_copies(corpus, steps)
    pairs = candidates(corpus, copies, shape.bands, steps)
    wanted, cuts = plan_verification(pairs, corpus.total)
    if shape.index:  # which keeps the sets of all documents that are kept
        wanted[: corpus.documents] = True
        wanted[copies] = False
    collect_sets(parts, corpus, wanted, shape, steps)
    edges, similarities, counts = verified(corpus, pairs, cuts, shape.threshold, steps)
    return resolve_clusters(corpus, edges, similarities, copies, best, counts)


@dataclass(frozen=True)
class Steps:
    """Where the steps run and keep their files."""

    state: Path
    cluster: ClusterConfig | None

    def run(self, step: str, function: Any, tasks: list[dict[str, Any]], work: int) -> list[dict[str, Any]]:
        """`run_tasks` in this place; `work` bytes in all."""
        return run_tasks(f"dedup_{step}", function, tasks, self.state, cluster=self.cluster, input_bytes=work, releases_gil=True)

    def file(self, name: str) -> str:
        """A file of these steps."""
        path = self.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)


def compute_signatures(parts: Sequence[Path], shape: DedupConfig, seed: int, steps: Steps) -> Corpus:
    """Sign every document."""
    files = [steps.file(f"signatures/{number:05d}.parquet") for number in range(len(parts))]
    shared = {"ngram": shape.ngram, "bands": shape.bands, "rows": shape.rows, "seed": seed}
    tasks = [{"part": str(part), "target": file, **shared} for part, file in zip(parts, files, strict=True)]
    results = steps.run("sign", write_signatures, tasks, sum(part.stat().st_size for part in parts))
    signed_parts: list[Part] = []
    first = 0
    for number, (file, result) in enumerate(zip(files, results, strict=True)):
        signed_parts.append(Part(file, steps.file(f"sets/{number:05d}.u64"), first, result["documents"], False))
        first += result["documents"]
    return Corpus((*signed_parts, *known_parts(shape, seed, first)))


def exact_copies(corpus: Corpus, steps: Steps) -> tuple[Integers, Integers]:
    """Positions of the documents whose words another document has too, and of the best such document."""
    bits = key_bits(corpus.total)
    listed = corpus.written(steps.state)
    files = [steps.file(f"copies/{part:05d}.u64") for part in range(1 << bits)]
    tasks = [{"corpus": listed, "bits": bits, "part": part, "target": file} for part, file in enumerate(files)]
    steps.run("copies", find_copies, tasks, 24 * corpus.total)
    found = np.concatenate([np.fromfile(file, dtype="<i8").reshape(-1, 2) for file in files])
    return found[:, 0], found[:, 1]


def candidates(corpus: Corpus, copies: Integers, bands: int, steps: Steps) -> list[str]:
    """The files of pairs that share the key of a band. Copies take no part: they go where their best goes."""
    eligible = np.ones(corpus.total, dtype=np.bool_)
    eligible[copies] = False
    marks = marked(steps.file("eligible.u8"), eligible)
    bits = key_bits(corpus.total)
    shared = {"corpus": corpus.written(steps.state), "bits": bits, "eligible": marks}
    names = [(band_name(band), part) for band in range(bands) for part in range(1 << bits)]
    files = [steps.file(f"pairs/{band}-{part:05d}.u64") for band, part in names]
    tasks = [
        {"band": band, "part": part, "target": file, **shared} for (band, part), file in zip(names, files, strict=True)
    ]
    steps.run("pairs", find_pairs, tasks, 16 * len(tasks) * corpus.total)
    return files


def plan_verification(files: list[str], documents: int) -> tuple[Flags, list[int]]:
    """One look at all pairs: which documents are in one, bool [documents], and at which (packed) pairs to cut them
    into tasks of about `PAIRS_PER_TASK`, or fewer when there are few."""
    wanted = np.zeros(documents, dtype=np.bool_)
    samples: list[Hashes] = []
    for file in files:
        with open(file, "rb") as stream:
            while len(pairs := np.fromfile(stream, dtype="<u8", count=SAMPLE * 2**12)):
                wanted[pairs >> np.uint64(32)] = True
                wanted[pairs & np.uint64(0xFFFFFFFF)] = True
                samples.append(pairs[::SAMPLE])
    sampled = np.sort(np.concatenate(samples or [np.zeros(0, dtype=np.uint64)]))
    step = min(PAIRS_PER_TASK, max(MIN_PAIRS_PER_TASK, SAMPLE * len(sampled) // VERIFY_TASKS)) // SAMPLE
    inner = np.unique(sampled[step::step]).tolist()
    return wanted, [0, *inner, 2**64 - 1]


def collect_sets(parts: Sequence[Path], corpus: Corpus, wanted: Flags, shape: DedupConfig, steps: Steps) -> None:
    """Write the shingle sets of the `wanted` new documents; those of known ones are there."""
    marks = marked(steps.file("wanted.u8"), wanted)
    pairs = [
        (part, listed)
        for part, listed in zip(parts, corpus.parts[: len(parts)], strict=True)
        if shape.index or wanted[listed.positions].any()
    ]
    tasks = [
        {"part": str(part), "ngram": shape.ngram, "first": listed.first, "count": listed.count, "wanted": marks,
         "target": listed.sets}
        for part, listed in pairs
    ]  # fmt: skip
    share = max(
        0.25, int(wanted[: corpus.documents].sum()) / max(1, corpus.documents)
    )  # to read is a quarter of the work
    steps.run("shingle", write_sets, tasks, int(share * sum(part.stat().st_size for part, _ in pairs)))


def verified(
    corpus: Corpus, files: list[str], cuts: list[int], threshold: float, steps: Steps
) -> tuple[Integers, npt.NDArray[np.float64], dict[str, int]]:
    """The pairs that hold, int64 [edges, 2], better document first, their similarities, and counts."""
    shared = {"corpus": corpus.written(steps.state), "pairs": files, "threshold": threshold}
    ends = list(pairwise(cuts))
    targets = [steps.file(f"edges/{number:05d}.parquet") for number in range(len(ends))]
    tasks = [
        {"low": low, "high": high, "target": target, **shared}
        for (low, high), target in zip(ends, targets, strict=True)
    ]
    found = sum(Path(file).stat().st_size for file in files) // 8
    results = steps.run("verify", verify, tasks, BYTES_PER_PAIR * found)
    tables = [pq.read_table(target) for target in targets]
    edges = unpacked(np.concatenate([np.asarray(table.column("edge"), dtype=np.uint64) for table in tables]))
    counts = {
        "candidate_pairs": sum(result["pairs"] for result in results),
        "verified_pairs": sum(result["edges"] for result in results),
    }
    return edges, np.concatenate([np.asarray(table.column("jaccard")) for table in tables]), counts


def resolve_clusters(
    corpus: Corpus,
    edges: Integers,
    similarities: npt.NDArray[np.float64],
    copies: Integers,
    best: Integers,
    counts: dict[str, int],
) -> DedupDecisions:
    """Star clusters over the documents on edges, then the copies: each goes where the best document with its words
    went, at similarity 1 when that one is kept."""
    involved = np.unique(edges)
    order = np.lexsort((involved, corpus.ranks(involved)))
    by_preference = np.empty_like(order)
    by_preference[order] = np.arange(len(order))
    numbered = by_preference[np.searchsorted(involved, edges)]
    matches = star_clusters(len(involved), numbered, similarities)
    gone = np.flatnonzero(matches.partner >= 0)
    fate = DedupDecisions(
        corpus,
        np.full(corpus.documents, -1, dtype=np.int64),
        np.zeros(corpus.documents),
        np.zeros(corpus.documents, dtype=np.bool_),
        counts,
    )
    removed = involved[order[gone]]
    fate.duplicate_of[removed] = involved[order[matches.partner[gone]]]
    fate.jaccard[removed] = matches.similarity[gone]
    new = best < corpus.documents
    moved = np.zeros(len(best), dtype=np.bool_)
    moved[new] = fate.duplicate_of[best[new]] >= 0
    # An exact copy of a document that is itself a near duplicate matches the kept one fuzzily.
    fate.duplicate_of[copies] = np.where(moved, fate.duplicate_of[np.where(moved, best, 0)], best)
    fate.jaccard[copies] = np.where(moved, fate.jaccard[np.where(moved, best, 0)], 1.0)
    fate.exact[copies] = ~moved
    return fate


def marked(path: str, flags: Flags) -> str:
    """Write a flag a document; returns the path."""
    with atomic_file(Path(path)) as partial:
        flags.tofile(partial)
    return path
