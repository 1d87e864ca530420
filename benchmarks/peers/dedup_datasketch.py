"""datasketch: `MinHash.generator` over word 5-grams and `MinHashLSH`, as its documentation shows; a document that
matches an earlier one is removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from datasketch import MinHash, MinHashLSH
from grams import word_grams
from measure import Clock, report

BANDS, ROWS, NGRAM = 14, 8, 5


def main(documents: str, target: str) -> None:
    """Label the documents."""
    clock = Clock()
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    labels: list[int] = []
    for position, sketch in enumerate(MinHash.generator(shingle_sets(documents), num_perm=BANDS * ROWS)):
        matches = index.query(sketch)
        if matches:
            labels.append(min(matches))
        else:
            labels.append(position)
            # Only kept documents: matching a removed one would chain documents that are not similar.
            index.insert(position, sketch)
    report(clock.stop(), labels, target)


def shingle_sets(documents: str) -> Iterator[list[bytes]]:
    """The word 5-grams of each document."""
    for grams in word_grams(documents, NGRAM):
        yield [" ".join(gram).encode() for gram in grams]


if __name__ == "__main__":
    main(*sys.argv[1:])
