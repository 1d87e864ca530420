"""Word n-grams of JSON lines, for the peers that expect shingles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import orjson

# The words of duplicates/text.py, so that peers find what the exact similarities are computed from.
WORDS = re.compile(r"\w+")


def word_grams(documents: str, size: int) -> Iterator[Iterable[tuple[str, ...]]]:
    """Yield the n-grams of the lowercase words of each document."""
    with open(documents, "rb") as lines:
        for line in lines:
            words = WORDS.findall(orjson.loads(line)["text"].lower())
            # strict=False: the shifted lists differ in length by design, and the shortest ends the n-grams.
            yield zip(*(words[start:] for start in range(size)), strict=False)
