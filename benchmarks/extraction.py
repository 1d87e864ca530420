"""Extraction of the main text of HTML: `python benchmarks/extraction.py --gold article-extraction-benchmark`.

Ours (`gptoss/formats/html.py`, charset detection included) and trafilatura in three settings convert the same pages
from bytes to text, in turns, each in a separate process on one core. Figures are medians of the CPU seconds of
extraction.

Quality is F1 as the published benchmark computes it (https://github.com/scrapinghub/article-extraction-benchmark;
`--gold` names a checkout): precision and recall of word n-grams, averaged over pages with equal weight. `f1_*` is for
n = 1, `shingle_f1_*` for n = 4, which the benchmark publishes. Without `--gold` there is no ground truth: pages of this
machine's documentation are used, and trafilatura's output is the reference.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pickle
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from environments import environment

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ("trafilatura==2.0.0", "lxml_html_clean==0.4.6")
# FineWeb was made with `trafilatura_precision`.
SETTINGS: dict[str, dict[str, Any]] = {
    "trafilatura_fast": {"fast": True},
    "trafilatura": {},
    "trafilatura_precision": {"favor_precision": True},
}
OURS = "ours"
WORD = re.compile(r"\w+")
MAX_PAGES = 1_000
# Bytes of a page of this machine's documentation.
MIN_PAGE, MAX_PAGE = 2_000, 1_000_000

Texts = Mapping[str, str]


def main() -> None:
    """Run all contestants; in a process started with `--run`, extract with one of them."""
    arguments = parse()
    if arguments.run:
        extract_all(arguments.run, arguments.pages, arguments.output)
        return
    arguments.cache.mkdir(parents=True, exist_ok=True)
    pages, truth = from_gold(arguments.gold) if arguments.gold else (from_documentation(arguments.html), None)
    python = environment(arguments.cache / "trafilatura", REQUIREMENTS)
    if not pages or python is None:
        sys.exit(
            f"error: {arguments.html} has no *.html of {MIN_PAGE:,} to {MAX_PAGE:,} bytes"
            if python
            else "error: without trafilatura there is nothing to compare with"
        )
    seconds, texts = run_in_turns(pages, arguments, python)
    print(json.dumps(figures(pages, truth, seconds, texts)))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=Path, help="a checkout of article-extraction-benchmark")
    parser.add_argument("--html", type=Path, default=Path("/usr/share"), help="without --gold: a folder of *.html")
    parser.add_argument(
        "--repetitions", type=int, default=5, help="runs of each contestant, in turns; figures are medians"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / ".benchmarks" / "extraction",
        help="folder of the environment and the pages",
    )
    for internal in ("--run", "--pages", "--output"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    return parser.parse_args()


def from_gold(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Pages, and their article bodies, by id."""
    truth = {key: item["articleBody"] for key, item in json.loads((folder / "ground-truth.json").read_text()).items()}
    return {key: gzip.decompress((folder / "html" / f"{key}.html.gz").read_bytes()) for key in truth}, truth


def from_documentation(folder: Path) -> dict[str, bytes]:
    """Evenly spaced pages of this machine's documentation, by path."""
    paths = [path for path in sorted(folder.rglob("*.html")) if path.is_file() and _fits(path)]
    # Spread over all paths: neighbours come from one package and look alike.
    step = max(1, len(paths) // MAX_PAGES)
    return {str(path): path.read_bytes() for path in paths[::step][:MAX_PAGES]}


def _fits(page: Path) -> bool:
    return MIN_PAGE <= page.stat().st_size <= MAX_PAGE


def run_in_turns(
    pages: Mapping[str, bytes], arguments: argparse.Namespace, python: Path
) -> tuple[dict[str, list[float]], dict[str, Texts]]:
    """CPU seconds of every run by contestant, and the extracted texts."""
    stored = arguments.cache / "pages.pickle"
    # Decompressed once and pickled: contestants spend no time on files.
    stored.write_bytes(pickle.dumps(dict(pages)))
    seconds: dict[str, list[float]] = {name: [] for name in (OURS, *SETTINGS)}
    texts: dict[str, Texts] = {}
    for _ in range(arguments.repetitions):
        for name in seconds:
            output = arguments.cache / f"{name}.json"
            program = [sys.executable if name == OURS else str(python), __file__, "--run", name]
            subprocess.run([*program, "--pages", str(stored), "--output", str(output)], check=True)
            result = json.loads(output.read_text())
            seconds[name].append(result["seconds"])
            texts[name] = result["texts"]
    return seconds, texts


def extract_all(name: str, pages: str, output: str) -> None:
    """Extract every page once with one contestant, after a page that warms it up."""
    # The last core: the first one serves most interrupts.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    stored: dict[str, bytes] = pickle.loads(Path(pages).read_bytes())
    extract = _ours() if name == OURS else _trafilatura(name)
    extract(next(iter(stored.values())))
    started = time.process_time()
    texts = {key: extract(page) for key, page in stored.items()}
    seconds = time.process_time() - started
    Path(output).write_text(json.dumps({"seconds": seconds, "texts": texts}))


def _ours() -> Callable[[bytes], str]:
    sys.path.insert(0, str(ROOT))
    from gptoss.formats.html import main_text
    from gptoss.sources.charsets import decode

    return lambda page: main_text(decode(page, None)[0])[1]


def _trafilatura(name: str) -> Callable[[bytes], str]:
    import logging

    import trafilatura

    # Warnings about broken pages would be formatted and written within the measured time.
    logging.disable(logging.CRITICAL)
    return lambda page: trafilatura.extract(page, include_comments=False, **SETTINGS[name]) or ""


def f1(truth: Texts, texts: Texts, n: int) -> float:
    """F1 over n-grams of words, as article-extraction-benchmark's `evaluate.py` defines it."""
    precisions: list[float] = []
    recalls: list[float] = []
    for key, text in truth.items():
        expected, extracted = _ngrams(text, n), _ngrams(texts[key], n)
        both = sum((expected & extracted).values())
        # A page without any text has no precision (or recall) and is left out of that average, as in `evaluate.py`.
        if extracted:
            precisions.append(both / sum(extracted.values()))
        if expected:
            recalls.append(both / sum(expected.values()))
    precision, recall = mean(precisions), mean(recalls)
    return 2 * precision * recall / (precision + recall)


def _ngrams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = WORD.findall(text)
    return Counter(tuple(words[at : at + n]) for at in range(max(1, len(words) - n + 1))) if words else Counter()


def figures(
    pages: Mapping[str, bytes], truth: Texts | None, seconds: Mapping[str, Sequence[float]], texts: Mapping[str, Texts]
) -> dict[str, Any]:
    """The JSON object that this benchmark prints."""
    size = sum(map(len, pages.values())) / 1e6
    medians = {name: median(runs) for name, runs in seconds.items()}
    # Without ground truth trafilatura is the reference, and so has no score of its own.
    reference = texts["trafilatura"] if truth is None else truth
    against = "article-extraction-benchmark" if truth else "trafilatura's own output in its default setting: no truth"
    scored = [name for name in medians if truth or name != "trafilatura"]
    return {
        **{f"ratio_{name}": round(medians[name] / medians[OURS], 2) for name in SETTINGS},
        **{f"f1_{name}": round(f1(reference, texts[name], 1), 4) for name in scored},
        **{f"shingle_f1_{name}": round(f1(reference, texts[name], 4), 4) for name in scored},
        "against": against,
        "pages": len(pages),
        "megabytes": round(size, 1),
        "mb_per_second": {name: round(size / value, 2) for name, value in medians.items()},
        "seconds": {name: [round(value, 3) for value in runs] for name, runs in seconds.items()},
    }


if __name__ == "__main__":
    main()
