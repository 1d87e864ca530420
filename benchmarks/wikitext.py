"""Wikitext to text compared with mwparserfromhell's `strip_code`: same pages, one core, speed and shared words.

    python benchmarks/wikitext.py [DUMP.xml.bz2] [--cache FOLDER]

The default dump is that of the `wikipedia` source in params.yaml. The peer runs in a separate environment in the cache
folder. Both take turns; the ratio is a median. The peer keeps what ours removes on purpose (tables, citations, file
captions), so the interesting figure is how much of our text the peer also has.
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
# Run by the Python of its environment; `process_time` leaves out reading and writing the files.
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
    """Wikitext of all articles of a dump, and the namespaces of its wiki."""
    from gptoss.config.source import SourceConfig
    from gptoss.formats.mediawiki_xml import Export, pages
    from gptoss.sources.compression import HashingStream, decompressed
    from gptoss.sources.fetch import RawFileOpener
    from gptoss.sources.resolve_urls import expand_urls

    source = SourceConfig(format="mediawiki", urls=(dump,), license="", language="")
    export = Export()
    with RawFileOpener(Path()) as raw, raw.open(expand_urls(source, 0)[0]) as stream:
        # Namespace 0 has the articles; the stage `ingest` keeps the same pages.
        texts = [
            page.text
            for page in pages(decompressed(HashingStream(stream)), export)
            if page.namespace == "0" and not page.is_redirect and page.text
        ]
    return texts, export.site.namespaces


def ours(pages: list[str], namespaces: dict[str, str]) -> tuple[float, list[str]]:
    """CPU seconds and texts of our converter."""
    from gptoss.formats.wikitext import plain_text

    started = time.process_time()
    texts = [plain_text(page, namespaces) for page in pages]
    return time.process_time() - started, texts


def peer(pages: list[str], cache: Path) -> tuple[float, list[str]]:
    """CPU seconds and texts of mwparserfromhell, in a process of its environment."""
    python = environment(cache / "mwparserfromhell", ("mwparserfromhell==0.7.2",))
    if python is None:
        sys.exit("error: without mwparserfromhell there is nothing to compare with")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "pages.json", Path(folder) / "texts.json"
        source.write_text(json.dumps(pages))
        completed = subprocess.run([python, "-c", PEER, source, target], check=True, stderr=subprocess.PIPE, text=True)
        return float(completed.stderr.split()[-1]), json.loads(target.read_text())


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
    # The texts are the same in every round; those of the last are compared.
    mine: list[str] = []
    theirs: list[str] = []
    for _ in range(ROUNDS):
        my_seconds, mine = ours(pages, namespaces)
        their_seconds, theirs = peer(pages, arguments.cache)
        seconds.append(my_seconds)
        ratios.append(their_seconds / my_seconds)
    counts = [(Counter(WORD.findall(a)), Counter(WORD.findall(b))) for a, b in zip(mine, theirs, strict=True)]
    # Multisets of words: the order of paragraphs and white space do not matter.
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
