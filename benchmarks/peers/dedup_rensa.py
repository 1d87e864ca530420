"""rensa: `RMinHash` sketches of word 5-grams in an `RMinHashLSH` index; a document that matches an earlier one is
removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from grams import word_grams
from measure import Clock, report
from rensa import RMinHash, RMinHashLSH

BANDS, ROWS, NGRAM = 14, 8, 5
SEED = 42  # of the permutations; any


def main(documents: str, target: str) -> None:
    """Label the documents."""
    clock = Clock()
    index = RMinHashLSH(threshold=0.7, num_perm=BANDS * ROWS, num_bands=BANDS)
    labels: list[int] = []
    for position, grams in enumerate(shingle_sets(documents)):
        sketch = RMinHash(num_perm=BANDS * ROWS, seed=SEED)
        sketch.update(grams)
        matches = index.query(sketch)
        if matches:
            labels.append(min(matches))
        else:
            labels.append(position)
            # Only kept documents: matching a removed one would chain documents that are not similar.
            index.insert(position, sketch)
    report(clock.stop(), labels, target)


def shingle_sets(documents: str) -> Iterator[list[str]]:
    """The word 5-grams of each document."""
    for grams in word_grams(documents, NGRAM):
        yield [" ".join(gram) for gram in grams]


if __name__ == "__main__":
    main(*sys.argv[1:])
