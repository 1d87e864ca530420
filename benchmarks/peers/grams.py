"""Word n-grams of JSON lines, for the peers that expect shingles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import orjson

WORDS = re.compile(r"\w+")


def word_grams(documents: str, size: int) -> Iterator[Iterable[tuple[str, ...]]]:
    """Yield the n-grams of the lowercase words of each document."""
    with open(documents, "rb") as lines:
        for line in lines:
            words = WORDS.findall(orjson.loads(line)["text"].lower())
            yield zip(*(words[start:] for start in range(size)), strict=False)
