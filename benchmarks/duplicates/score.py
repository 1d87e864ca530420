"""What a contestant's labels are worth, by the exact similarities of the texts: plain Python sets, nothing of ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from duplicates.corpus import Corpus
from duplicates.plant import similarity
from duplicates.text import words_of

BANDS, ROWS = 14, 8
THRESHOLD = 0.7


@dataclass(frozen=True)
class Recall:
    """Of the planted pairs of one bin: how many there are, the share found, and the share that LSH finds on average."""

    pairs: int
    found: float
    theory: float


def recall(corpus: Corpus, labels: Sequence[int]) -> dict[float, Recall]:
    """By bin, highest first. A pair is found when its two documents went to the same kept document."""
    position = {name: number for number, name in enumerate(corpus.ids)}
    bins: defaultdict[float, list[tuple[bool, float]]] = defaultdict(list)
    for pair in corpus.planted():
        found = labels[position[pair.original]] == labels[position[pair.copy]]
        bins[pair.bin].append((found, collision(pair.jaccard)))
    return {
        bin_: Recall(len(pairs), _mean([found for found, _ in pairs]), _mean([chance for _, chance in pairs]))
        for bin_, pairs in sorted(bins.items(), reverse=True)
    }


def collision(jaccard: float) -> float:
    """Probability that two documents of this similarity share all rows of some band."""
    return 1.0 - (1.0 - jaccard**ROWS) ** BANDS


def precision(corpus: Corpus, labels: Sequence[int]) -> float | None:
    """Share of the removed documents whose kept partner is exactly `THRESHOLD` similar or more; None: none removed."""
    ids = corpus.ids
    pairs = [(ids[number], ids[kept]) for number, kept in enumerate(labels) if kept != number]
    if not pairs:
        return None
    texts = corpus.texts({name for pair in pairs for name in pair})
    words = {name: words_of(text) for name, text in texts.items()}
    return _mean([similarity(words[gone], words[kept]) >= THRESHOLD for gone, kept in pairs])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
