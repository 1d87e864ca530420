"""What the peers that take shingles read: the word n-grams of JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import orjson

WORDS = re.compile(r"\w+")


def word_grams(documents: str, size: int) -> Iterator[Iterable[tuple[str, ...]]]:
    """The n-grams of the lowercase words of each document."""
    with open(documents, "rb") as lines:
        for line in lines:
            found = WORDS.findall(orjson.loads(line)["text"].lower())
            yield zip(*(found[start:] for start in range(size)), strict=False)
