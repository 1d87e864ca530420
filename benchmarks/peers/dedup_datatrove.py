"""datatrove: its MinHash pipeline up to the ids of removed documents (steps 1 to 3, without rewriting the documents) on
its `LocalPipelineExecutor`, with its own normalisation.

`--split` replaces its word tokenizer (spaCy), which takes most of its time, by `str.split`.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.logging import logger
from datatrove.utils.word_tokenizers import WordTokenizer, load_word_tokenizer
from measure import Clock, report

BANDS, ROWS, NGRAM = 14, 8, 5
ENGLISH = "eng"


class WhitespaceTokenizer(WordTokenizer):
    """Splits words at white space."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


def main(documents: str, target: str, *options: str) -> None:
    """Label the documents."""
    logger.remove()
    tokenizer = WhitespaceTokenizer(ENGLISH) if "--split" in options else ENGLISH
    # Before the clock starts, like the imports of the others.
    load_word_tokenizer(tokenizer).word_tokenize("load the tokenizer")
    with tempfile.TemporaryDirectory() as scratch:
        clock = Clock()
        run(documents, scratch, tokenizer)
        measured = clock.stop()
        labels = read_labels(documents, Path(scratch) / "removed")
    report(measured, labels, target)


def run(documents: str, scratch: str, tokenizer: str | WordTokenizer) -> None:
    """Run steps 1 to 3."""
    config = MinhashConfig(n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS)
    reader = JsonlReader(str(Path(documents).parent))
    sign = MinhashDedupSignature(f"{scratch}/signatures", config=config, language=tokenizer)
    bucket = MinhashDedupBuckets(f"{scratch}/signatures", f"{scratch}/pairs", config=config)
    cluster = MinhashDedupCluster(f"{scratch}/pairs", f"{scratch}/removed", config=config, save_cluster_id=True)
    for name, steps, tasks in (("sign", [reader, sign], 1), ("bucket", [bucket], BANDS), ("cluster", [cluster], 1)):
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=f"{scratch}/logs/{name}").run()


def read_labels(documents: str, folder: Path) -> list[int]:
    """Position of the document kept in place of each document, from its files of removed documents and of clusters."""
    with open(documents, "rb") as lines:
        labels = list(range(sum(1 for _ in lines)))
    # Little-endian uint32: positions of removed documents, and pairs of a position and its cluster.
    removed = {position for (position,) in struct.iter_unpack("<I", (folder / "000000.remove").read_bytes())}
    clusters = dict(struct.iter_unpack("<2I", (folder / "000000.clusters").read_bytes()))
    kept = {cluster: position for position, cluster in clusters.items() if position not in removed}
    for position in removed:
        labels[position] = kept[clusters[position]]
    return labels


if __name__ == "__main__":
    main(*sys.argv[1:])
