"""Batches of documents of bounded text, for calls that encode many texts in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# An encoding takes about a hundred times the memory of its text (ids, offsets, strings), so this is about 400 MB. Small
# enough for a laptop; large enough that all threads are busy.
MAX_CHARACTERS = 4_000_000


def text_batches(documents: Iterable[T], text_of: Callable[[T], str]) -> Iterator[list[T]]:
    """Group documents in order into lists that end once they hold `MAX_CHARACTERS` of text."""
    batch: list[T] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(text_of(document))
        if characters >= MAX_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
