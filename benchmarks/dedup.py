"""Fuzzy deduplication, measured: `python benchmarks/dedup.py`.

Builds a corpus from text found on this machine with planted duplicates of exactly known similarity (duplicates/), lets
this pipeline and its peers find them in turns, each on one core, in its own process and environment, from the raw
documents to the ids of what is removed, and prints a table and, as the last line, one JSON object.

All use 14 bands of 8 rows over word 5-grams. The clock includes reading and normalising, not starting Python. This
pipeline and only it also verifies each candidate pair by its exact similarity. Slow peers get a part of the corpus, as
MB/s are compared; `benchmarks/README.md` says what each of them does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from duplicates.contest import OURS, RIVALS, ROOT, TENTH, TWO_WORKERS, Contestant, Outcome, run
from duplicates.corpus import Corpus, load
from duplicates.score import THRESHOLD, Recall, precision, recall
from environments import environment

sys.path.insert(0, str(ROOT))

from gptoss.executor.tasks import MIN_BYTES_FOR_PROCESSES

Outcomes = Mapping[str, Sequence[Outcome]]


def main() -> None:
    """Build, run, score, print."""
    arguments = parse()
    sizes, about = load(arguments.cache, arguments.megabytes, arguments.seed)
    if arguments.build_only:
        print(json.dumps(about))
        return
    cores = sorted(os.sched_getaffinity(0))
    pythons = {
        rival.name: environment(arguments.cache / rival.environment, rival.requirements)
        for rival in RIVALS
        if rival.name in arguments.peers
    }
    outcomes = contest(sizes, pythons, cores, arguments.repetitions)
    if not outcomes[OURS.name]:
        sys.exit("error: the deduplication of this checkout failed, see above")
    scores = {name: score(sizes[size_of(name)], runs[-1]) for name, runs in outcomes.items() if runs}
    memory = two_worker_memory(sizes, cores, outcomes)
    print_table(sizes, outcomes, scores)
    print(json.dumps(figures(sizes, about, outcomes, scores, memory)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=300, help="size of the corpus, 10^6 bytes of text")
    parser.add_argument("--seed", type=int, default=1, help="of the corpus")
    parser.add_argument("--repetitions", type=int, default=3, help="of each contestant, in turns; medians count")
    names = [rival.name for rival in RIVALS]
    parser.add_argument("--peers", nargs="*", choices=names, default=names, help="only these; without any, ours alone")
    parser.add_argument("--cache", type=Path, default=ROOT / ".benchmarks" / "dedup", help="corpora and environments")
    parser.add_argument("--build-only", action="store_true", help="build the corpus and stop")
    return parser.parse_args()


def contest(
    sizes: Mapping[str, Corpus], pythons: Mapping[str, Path | None], cores: Sequence[int], repetitions: int
) -> Outcomes:
    """All runs by name: everyone once, then everyone again, so that a disturbance of the machine meets all."""
    python = Path(sys.executable)
    run(Contestant("warm-up", OURS.script, "thirtieth"), python, sizes["thirtieth"], cores[:1])
    field: list[tuple[Contestant, Path, Sequence[int]]] = [(OURS, python, cores[:1]), (TENTH, python, cores[:1])]
    field += [(TWO_WORKERS, python, cores[:2])] if two_workers(sizes["all"], cores) else []
    field += [(rival, found, cores[:1]) for rival in RIVALS if (found := pythons.get(rival.name))]
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant in (OURS, TENTH, TWO_WORKERS, *RIVALS)}
    for repetition in range(repetitions):
        for contestant, found, own_cores in field:
            outcome = run(contestant, found, sizes[contestant.size], own_cores)
            if outcome:
                outcomes[contestant.name].append(outcome)
                taken = f"{outcome.seconds:.1f} s ({outcome.cpu_seconds:.1f} CPU s)"
                print(f"{repetition + 1}/{repetitions} {contestant.name}: {taken}", file=sys.stderr)
    return outcomes


def score(corpus: Corpus, outcome: Outcome) -> tuple[dict[float, Recall], float | None]:
    """Recall by bin and precision."""
    return recall(corpus, outcome.labels), precision(corpus, outcome.labels)


def two_workers(corpus: Corpus, cores: Sequence[int]) -> bool:
    """Whether two workers can be measured: the engine does not start processes for little work."""
    size = sum(part.stat().st_size for part in corpus.parts)
    if len(cores) > 1 and size < MIN_BYTES_FOR_PROCESSES:
        print(
            f"{TWO_WORKERS.name}: {size / 1e6:.0f} MB of Parquet are too little, give more --megabytes", file=sys.stderr
        )
    return len(cores) > 1 and size >= MIN_BYTES_FOR_PROCESSES


def two_worker_memory(sizes: Mapping[str, Corpus], cores: Sequence[int], outcomes: Outcomes) -> dict[str, float]:
    """Peak of all processes of a run with two workers, MB, by size; runs of their own, as sampling takes time."""
    if not outcomes[TWO_WORKERS.name]:
        return {}
    python = Path(sys.executable)
    runs = {size: run(TWO_WORKERS, python, sizes[size], cores[:2], sample_memory=True) for size in ("tenth", "all")}
    return {size: outcome.peak_pss_mb for size, outcome in runs.items() if outcome}


def size_of(name: str) -> str:
    """The size of the corpus a contestant runs on."""
    return {contestant.name: contestant.size for contestant in (OURS, TENTH, TWO_WORKERS, *RIVALS)}[name]


def speed(sizes: Mapping[str, Corpus], outcomes: Outcomes, name: str, *, cpu: bool = False) -> float | None:
    """MB/s: the median of the runs; None without any."""
    runs = outcomes[name]
    if not runs:
        return None
    return sizes[size_of(name)].megabytes / median(run.cpu_seconds if cpu else run.seconds for run in runs)


def ratio(over: float | None, under: float | None) -> float | None:
    """One speed over another, where both are known."""
    return round(over / under, 2) if over and under else None


def figures(
    sizes: Mapping[str, Corpus],
    about: Mapping[str, Any],
    outcomes: Outcomes,
    scores: Mapping[str, tuple[dict[float, Recall], float | None]],
    memory: Mapping[str, float],
) -> dict[str, Any]:
    """The JSON object."""
    wall = {name: speed(sizes, outcomes, name) for name in outcomes}
    cpu = {name: speed(sizes, outcomes, name, cpu=True) for name in outcomes}
    found, exact = scores[OURS.name]
    resident = {name: median(run.peak_rss_mb for run in runs) for name, runs in outcomes.items() if runs}
    return {
        **{f"ratio_{rival.name}": ratio(wall[OURS.name], wall[rival.name]) for rival in RIVALS},
        "recall": {f"{bin_:.2f}": _recall(figure) for bin_, figure in found.items() if THRESHOLD <= bin_ < 1},
        "exact_recall": round(found[1.0].found, 4),
        "removed_below_threshold": sum(
            round(figure.found * figure.pairs) for bin_, figure in found.items() if bin_ < THRESHOLD
        ),
        "precision_at_0_7": None if exact is None else round(exact, 4),
        "two_core_speedup": ratio(wall[TWO_WORKERS.name], wall[OURS.name]),
        "peak_rss_mb": round(resident[OURS.name]),
        "rss_growth_10x": ratio(resident[OURS.name], resident.get(TENTH.name)),
        "two_workers_peak_mb": {size: round(peak) for size, peak in memory.items()},
        "two_workers_growth_10x": ratio(memory.get("all"), memory.get("tenth")),
        "mb_per_s": {name: figure and round(figure, 2) for name, figure in wall.items()},
        "ratios_by_cpu_seconds": {rival.name: ratio(cpu[OURS.name], cpu[rival.name]) for rival in RIVALS},
        "peers": {
            rival.name: peer_figures(sizes[rival.size], resident[rival.name], *scores[rival.name])
            for rival in RIVALS
            if rival.name in scores
        },
        "corpus_mb": round(sizes["all"].megabytes, 1),
        "documents": about["documents"],
        "planted": about["planted"],
        "corpus_bytes_by_origin": about["bytes_by_origin"],
        "repetitions": max(map(len, outcomes.values())),
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
    }


def peer_figures(corpus: Corpus, resident: float, found: Mapping[float, Recall], exact: float | None) -> dict[str, Any]:
    """What a peer found, for comparison."""
    return {
        "megabytes": round(corpus.megabytes, 1),
        "peak_rss_mb": round(resident),
        "recall": {f"{bin_:.2f}": _recall(figure) for bin_, figure in found.items()},
        "precision_at_0_7": None if exact is None else round(exact, 4),
    }


def processor() -> str:
    """The processor's name."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].split(":", 1)[1].strip() if names else platform.machine()


def _recall(figure: Recall) -> dict[str, float]:
    return {"measured": round(figure.found, 4), "theory": round(figure.theory, 4), "pairs": figure.pairs}


def print_table(
    sizes: Mapping[str, Corpus],
    outcomes: Outcomes,
    scores: Mapping[str, tuple[dict[float, Recall], float | None]],
) -> None:
    """The same for a person."""
    ours = speed(sizes, outcomes, OURS.name)
    print(f"{'':<18}{'MB':>7}{'s':>9}{'CPU s':>9}{'MB/s':>9}{'ours is':>9}{'RSS MB':>9}{'precision':>11}")
    for name, runs in outcomes.items():
        if not runs:
            print(f"{name:<18} not run, see above")
            continue
        mb, rate = sizes[size_of(name)].megabytes, speed(sizes, outcomes, name)
        seconds, cpu = median(run.seconds for run in runs), median(run.cpu_seconds for run in runs)
        exact = scores[name][1]
        print(
            f"{name:<18}{mb:>7.1f}{seconds:>9.2f}{cpu:>9.2f}{rate:>9.2f}{ratio(ours, rate) or 0:>8.2f}x"
            f"{median(run.peak_rss_mb for run in runs):>9.0f}{'-' if exact is None else f'{exact:.4f}':>11}"
        )
    print("\nRecall by exact similarity of the planted pairs (theory: 14 bands of 8 rows)")
    found = {name: figures for name, (figures, _) in scores.items() if name not in (TENTH.name, TWO_WORKERS.name)}
    print(f"{'similarity':<12}{'pairs':>7}{'theory':>9}" + "".join(f"{name:>17}" for name in found))
    for bin_, figure in found[OURS.name].items():
        others = "".join(
            f"{figures[bin_].found:>17.4f}" if bin_ in figures else f"{'-':>17}" for figures in found.values()
        )
        label = "exact copy" if bin_ == 1 else f"{bin_:.2f}-{bin_ + 0.02:.2f}"
        print(f"{label:<12}{figure.pairs:>7}{figure.theory:>9.4f}{others}")
    print("Below 0.70 this pipeline removes nothing: the pairs it finds there do not pass verification.\n")


if __name__ == "__main__":
    main()
