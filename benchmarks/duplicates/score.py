"""Recall and precision of a contestant's labels, by exact similarities of the texts.

Computed with plain Python sets and none of the pipeline's code, so that an error there cannot hide itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from duplicates.corpus import Corpus
from duplicates.plant import similarity
from duplicates.text import words_of

# The parameters of all contestants (peers/dedup_*.py).
BANDS, ROWS = 14, 8
THRESHOLD = 0.7


@dataclass(frozen=True)
class Recall:
    """Planted pairs of one bin: their number, the share found, and the share that LSH finds on average."""

    pairs: int
    found: float
    theory: float


def recall(corpus: Corpus, labels: Sequence[int]) -> dict[float, Recall]:
    """Recall by bin, highest bin first. A pair is found when both documents have the same kept document."""
    position = {name: number for number, name in enumerate(corpus.ids)}
    bins: defaultdict[float, list[tuple[bool, float]]] = defaultdict(list)
    for pair in corpus.planted():
        found = labels[position[pair.original]] == labels[position[pair.copy]]
        bins[pair.bin].append((found, collision_probability(pair.jaccard)))
    return {
        bin_: Recall(len(pairs), _mean([found for found, _ in pairs]), _mean([probability for _, probability in pairs]))
        for bin_, pairs in sorted(bins.items(), reverse=True)
    }


def collision_probability(jaccard: float) -> float:
    """Probability that two documents of this similarity agree in all rows of at least one band.

    References: Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, section 3.4.2.
    """
    return 1.0 - (1.0 - jaccard**ROWS) ** BANDS


def precision(corpus: Corpus, labels: Sequence[int]) -> float | None:
    """Share of the removed documents whose exact similarity to their kept document is `THRESHOLD` or more.

    None when nothing was removed.
    """
    ids = corpus.ids
    pairs = [(ids[number], ids[kept]) for number, kept in enumerate(labels) if kept != number]
    if not pairs:
        return None
    texts = corpus.texts({name for pair in pairs for name in pair})
    words = {name: words_of(text) for name, text in texts.items()}
    return _mean([similarity(words[removed], words[kept]) >= THRESHOLD for removed, kept in pairs])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
