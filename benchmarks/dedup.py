"""Speed, recall, precision and memory of fuzzy deduplication, compared with peers: `python benchmarks/dedup.py`.

Builds a corpus from text found on this machine with planted duplicates whose similarity is known exactly (duplicates/).
This pipeline and its peers deduplicate it in turns, each on one core in its own process and environment, from the raw
documents to the ids of the removed documents. Prints a table and, as the last line, one JSON object.

All use 14 bands of 8 rows over word 5-grams. The measured time includes reading and normalising, but not starting
Python. Only this pipeline also verifies each candidate pair by its exact similarity. Slow peers get a fraction of the
corpus, because MB/s are compared; `benchmarks/README.md` describes what each of them does.
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

from duplicates.contestants import OURS, PEERS, ROOT, TENTH, TWO_WORKERS, Contestant, RunResult, run
from duplicates.corpus import Corpus, load
from duplicates.score import THRESHOLD, Recall, precision, recall
from environments import environment

sys.path.insert(0, str(ROOT))

from gptoss.executor.tasks import MIN_BYTES_FOR_PROCESSES

# Successful runs by name of the contestant.
Runs = Mapping[str, Sequence[RunResult]]


def main() -> None:
    """Build the corpus, run all contestants, score their labels, print the results."""
    arguments = parse()
    sizes, about = load(arguments.cache, arguments.megabytes, arguments.seed)
    if arguments.build_only:
        print(json.dumps(about))
        return
    # Only cores that this process may use: a container may have fewer than the machine.
    cores = sorted(os.sched_getaffinity(0))
    pythons = {
        peer.name: environment(arguments.cache / peer.environment, peer.requirements)
        for peer in PEERS
        if peer.name in arguments.peers
    }
    runs_by_name = run_in_turns(sizes, pythons, cores, arguments.repetitions)
    if not runs_by_name[OURS.name]:
        sys.exit("error: the deduplication of this checkout failed, see above")
    scores = {name: score(sizes[size_of(name)], runs[-1]) for name, runs in runs_by_name.items() if runs}
    memory = two_worker_memory(sizes, cores, runs_by_name)
    print_table(sizes, runs_by_name, scores)
    print(json.dumps(figures(sizes, about, runs_by_name, scores, memory)))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=300, help="size of the corpus, 10^6 bytes of text")
    parser.add_argument("--seed", type=int, default=1, help="seed of the corpus")
    parser.add_argument(
        "--repetitions", type=int, default=3, help="runs of each contestant, in turns; figures are medians"
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument(
        "--peers", nargs="*", choices=names, default=names, help="only these peers; without names, only this pipeline"
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".benchmarks" / "dedup", help="folder of corpora and environments"
    )
    parser.add_argument("--build-only", action="store_true", help="build the corpus and stop")
    return parser.parse_args()


def run_in_turns(
    sizes: Mapping[str, Corpus], pythons: Mapping[str, Path | None], cores: Sequence[int], repetitions: int
) -> Runs:
    """Run every contestant once, then every contestant again, so that other load on the machine affects all alike."""
    python = Path(sys.executable)
    # Compiles the kernels into numba's cache: compilation is not measured.
    run(Contestant("warm-up", OURS.script, "thirtieth"), python, sizes["thirtieth"], cores[:1])
    turns: list[tuple[Contestant, Path, Sequence[int]]] = [(OURS, python, cores[:1]), (TENTH, python, cores[:1])]
    turns += [(TWO_WORKERS, python, cores[:2])] if two_workers(sizes["all"], cores) else []
    turns += [(peer, peer_python, cores[:1]) for peer in PEERS if (peer_python := pythons.get(peer.name))]
    runs_by_name: dict[str, list[RunResult]] = {
        contestant.name: [] for contestant in (OURS, TENTH, TWO_WORKERS, *PEERS)
    }
    for repetition in range(repetitions):
        for contestant, interpreter, own_cores in turns:
            result = run(contestant, interpreter, sizes[contestant.size], own_cores)
            if result:
                runs_by_name[contestant.name].append(result)
                time_used = f"{result.seconds:.1f} s ({result.cpu_seconds:.1f} CPU s)"
                print(f"{repetition + 1}/{repetitions} {contestant.name}: {time_used}", file=sys.stderr)
    return runs_by_name


def score(corpus: Corpus, result: RunResult) -> tuple[dict[float, Recall], float | None]:
    """Recall by similarity bin, and precision."""
    return recall(corpus, result.labels), precision(corpus, result.labels)


def two_workers(corpus: Corpus, cores: Sequence[int]) -> bool:
    """True if two workers can be measured: the task engine starts no processes for less than a minimum of input."""
    # The engine counts bytes of its input files, not of text.
    size = sum(file.stat().st_size for file in corpus.files)
    if len(cores) > 1 and size < MIN_BYTES_FOR_PROCESSES:
        print(
            f"{TWO_WORKERS.name}: {size / 1e6:.0f} MB of Parquet < {MIN_BYTES_FOR_PROCESSES / 1e6:.0f} MB, from which "
            "the task engine starts processes: raise --megabytes",
            file=sys.stderr,
        )
    return len(cores) > 1 and size >= MIN_BYTES_FOR_PROCESSES


def two_worker_memory(sizes: Mapping[str, Corpus], cores: Sequence[int], runs_by_name: Runs) -> dict[str, float]:
    """Peak memory in MB of all processes of a run with two workers, by corpus size.

    These are separate runs, because sampling memory takes time that must not count as the contestant's.
    """
    if not runs_by_name[TWO_WORKERS.name]:
        return {}
    python = Path(sys.executable)
    runs = {size: run(TWO_WORKERS, python, sizes[size], cores[:2], sample_memory=True) for size in ("tenth", "all")}
    return {size: result.peak_pss_mb for size, result in runs.items() if result}


def size_of(name: str) -> str:
    """The size of the corpus that a contestant runs on."""
    return {contestant.name: contestant.size for contestant in (OURS, TENTH, TWO_WORKERS, *PEERS)}[name]


def speed(sizes: Mapping[str, Corpus], runs_by_name: Runs, name: str, *, cpu: bool = False) -> float | None:
    """MB/s of the median run; None without runs."""
    runs = runs_by_name[name]
    if not runs:
        return None
    return sizes[size_of(name)].megabytes / median(run.cpu_seconds if cpu else run.seconds for run in runs)


def ratio(over: float | None, under: float | None) -> float | None:
    """One speed over another; None where either is unknown."""
    return round(over / under, 2) if over and under else None


def figures(
    sizes: Mapping[str, Corpus],
    about: Mapping[str, Any],
    runs_by_name: Runs,
    scores: Mapping[str, tuple[dict[float, Recall], float | None]],
    memory: Mapping[str, float],
) -> dict[str, Any]:
    """The JSON object that this benchmark prints."""
    wall = {name: speed(sizes, runs_by_name, name) for name in runs_by_name}
    cpu = {name: speed(sizes, runs_by_name, name, cpu=True) for name in runs_by_name}
    recalls, exact_precision = scores[OURS.name]
    resident = {name: median(run.peak_rss_mb for run in runs) for name, runs in runs_by_name.items() if runs}
    return {
        **{f"ratio_{peer.name}": ratio(wall[OURS.name], wall[peer.name]) for peer in PEERS},
        "recall": {f"{bin_:.2f}": _recall(figure) for bin_, figure in recalls.items() if THRESHOLD <= bin_ < 1},
        "exact_recall": round(recalls[1.0].found, 4),
        "removed_below_threshold": sum(
            round(figure.found * figure.pairs) for bin_, figure in recalls.items() if bin_ < THRESHOLD
        ),
        "precision_at_0_7": None if exact_precision is None else round(exact_precision, 4),
        "two_core_speedup": ratio(wall[TWO_WORKERS.name], wall[OURS.name]),
        "peak_rss_mb": round(resident[OURS.name]),
        "rss_growth_10x": ratio(resident[OURS.name], resident.get(TENTH.name)),
        "two_workers_peak_mb": {size: round(peak) for size, peak in memory.items()},
        "two_workers_growth_10x": ratio(memory.get("all"), memory.get("tenth")),
        "mb_per_s": {name: figure and round(figure, 2) for name, figure in wall.items()},
        "ratios_by_cpu_seconds": {peer.name: ratio(cpu[OURS.name], cpu[peer.name]) for peer in PEERS},
        "peers": {
            peer.name: peer_figures(sizes[peer.size], resident[peer.name], *scores[peer.name])
            for peer in PEERS
            if peer.name in scores
        },
        "corpus_mb": round(sizes["all"].megabytes, 1),
        "documents": about["documents"],
        "planted": about["planted"],
        "corpus_bytes_by_origin": about["bytes_by_origin"],
        "repetitions": max(map(len, runs_by_name.values())),
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
    }


def peer_figures(
    corpus: Corpus, peak_rss_mb: float, recalls: Mapping[float, Recall], exact_precision: float | None
) -> dict[str, Any]:
    """Memory, recall and precision of a peer."""
    return {
        "megabytes": round(corpus.megabytes, 1),
        "peak_rss_mb": round(peak_rss_mb),
        "recall": {f"{bin_:.2f}": _recall(figure) for bin_, figure in recalls.items()},
        "precision_at_0_7": None if exact_precision is None else round(exact_precision, 4),
    }


def processor() -> str:
    """Name of the processor."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].split(":", 1)[1].strip() if names else platform.machine()


def _recall(figure: Recall) -> dict[str, float]:
    return {"measured": round(figure.found, 4), "theory": round(figure.theory, 4), "pairs": figure.pairs}


def print_table(
    sizes: Mapping[str, Corpus],
    runs_by_name: Runs,
    scores: Mapping[str, tuple[dict[float, Recall], float | None]],
) -> None:
    """Print speed, memory, precision and recall for a person."""
    ours = speed(sizes, runs_by_name, OURS.name)
    print(f"{'':<18}{'MB':>7}{'s':>9}{'CPU s':>9}{'MB/s':>9}{'ours is':>9}{'RSS MB':>9}{'precision':>11}")
    for name, runs in runs_by_name.items():
        if not runs:
            print(f"{name:<18} not run, see above")
            continue
        mb, rate = sizes[size_of(name)].megabytes, speed(sizes, runs_by_name, name)
        seconds, cpu = median(run.seconds for run in runs), median(run.cpu_seconds for run in runs)
        exact_precision = scores[name][1]
        precision_text = "-" if exact_precision is None else f"{exact_precision:.4f}"
        print(
            f"{name:<18}{mb:>7.1f}{seconds:>9.2f}{cpu:>9.2f}{rate:>9.2f}{ratio(ours, rate) or 0:>8.2f}x"
            f"{median(run.peak_rss_mb for run in runs):>9.0f}{precision_text:>11}"
        )
    print("\nRecall by exact similarity of the planted pairs (theory: 14 bands of 8 rows)")
    # The other runs of this pipeline find the same pairs.
    columns = {name: recalls for name, (recalls, _) in scores.items() if name not in (TENTH.name, TWO_WORKERS.name)}
    print(f"{'similarity':<12}{'pairs':>7}{'theory':>9}" + "".join(f"{name:>17}" for name in columns))
    for bin_, figure in columns[OURS.name].items():
        others = "".join(
            f"{recalls[bin_].found:>17.4f}" if bin_ in recalls else f"{'-':>17}" for recalls in columns.values()
        )
        label = "exact copy" if bin_ == 1 else f"{bin_:.2f}-{bin_ + 0.02:.2f}"
        print(f"{label:<12}{figure.pairs:>7}{figure.theory:>9.4f}{others}")
    print("Below 0.70 this pipeline removes nothing: pairs that it finds there do not pass verification.\n")


if __name__ == "__main__":
    main()
