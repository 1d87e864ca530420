"""Wikitext to text: ours against mwparserfromhell's `strip_code`, one core, the same pages, words compared.

    python benchmarks/wikitext.py [DUMP.xml.bz2] [--cache FOLDER]

Without a dump, the one of the `wikipedia` source in params.yaml. The peer runs in an environment of its own, made once
in the cache folder. Runs are interleaved and the median of the ratios counts. The peer keeps what ours removes on
purpose (tables, citations, file captions), so the figure of interest is how much of our text it has, too.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from environments import environment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROUNDS = 3
WORD = re.compile(r"\w+")
PEER = """
import json, sys, time
import mwparserfromhell
pages = json.load(open(sys.argv[1]))
started = time.process_time()
texts = [str(mwparserfromhell.parse(page, skip_style_tags=True).strip_code()) for page in pages]
print(time.process_time() - started, file=sys.stderr)
json.dump(texts, open(sys.argv[2], "w"))
"""


def articles(dump: str) -> tuple[list[str], dict[str, str]]:
    """Wikitext of the articles of a dump, and its namespaces."""
    from gptoss.config.source import SourceConfig
    from gptoss.formats.mediawiki_xml import Export, pages
    from gptoss.sources.compression import HashingStream, decompressed
    from gptoss.sources.fetch import RawFileOpener
    from gptoss.sources.resolve_urls import expand_urls

    source = SourceConfig(format="mediawiki", urls=(dump,), license="", language="")
    export = Export()
    with RawFileOpener(Path()) as raw, raw.open(expand_urls(source, 0)[0]) as stream:
        found = [
            page.text
            for page in pages(decompressed(HashingStream(stream)), export)
            if page.namespace == "0" and not page.is_redirect and page.text
        ]
    return found, export.site.namespaces


def ours(pages: list[str], namespaces: dict[str, str]) -> tuple[float, list[str]]:
    """Processor seconds and texts."""
    from gptoss.formats.wikitext import plain_text

    started = time.process_time()
    texts = [plain_text(page, namespaces) for page in pages]
    return time.process_time() - started, texts


def peers(pages: list[str], cache: Path) -> tuple[float, list[str]]:
    """The same of mwparserfromhell."""
    python = environment(cache / "mwparserfromhell", ("mwparserfromhell==0.7.2",))
    if python is None:
        sys.exit("without mwparserfromhell there is nothing to compare with")
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "pages.json", Path(folder) / "texts.json"
        given.write_text(json.dumps(pages))
        done = subprocess.run([python, "-c", PEER, given, made], check=True, stderr=subprocess.PIPE, text=True)
        return float(done.stderr.split()[-1]), json.loads(made.read_text())


def main() -> None:
    """Measure and print one JSON object."""
    from gptoss.config.settings import load_settings

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", nargs="?")
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    arguments = parser.parse_args()
    pages, namespaces = articles(arguments.dump or load_settings().sources["wikipedia"].urls[0])
    megabytes = sum(len(page.encode()) for page in pages) / 1e6
    seconds, ratios = [], []
    mine: list[str] = []
    theirs: list[str] = []
    for _ in range(ROUNDS):
        my_seconds, mine = ours(pages, namespaces)
        their_seconds, theirs = peers(pages, arguments.cache)
        seconds.append(my_seconds)
        ratios.append(their_seconds / my_seconds)
    counts = [(Counter(WORD.findall(a)), Counter(WORD.findall(b))) for a, b in zip(mine, theirs, strict=True)]
    shared = sum((a & b).total() for a, b in counts)
    result = {
        "articles": len(pages),
        "wikitext_mb": round(megabytes, 2),
        "mb_per_second": round(megabytes / statistics.median(seconds), 1),
        "ratio_mwparserfromhell": round(statistics.median(ratios), 2),
        "share_of_our_words_in_theirs": round(shared / sum(a.total() for a, _ in counts), 4),
        "share_of_their_words_in_ours": round(shared / sum(b.total() for _, b in counts), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
