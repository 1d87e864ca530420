"""Which n-grams match, and that hashes alone remove nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gptoss.config.settings import Settings
from gptoss.decontaminate import benchmark_ngrams, search
from gptoss.text.normalize import Words, find_words
from tests.decontaminate.stage_runs import (
    ITEMS,
    LONG,
    SHORT,
    TINY,
    filler,
    found_items,
    removed_documents,
    run_stage,
    write_inputs,
)


def test_an_item_of_thirteen_words_or_more_needs_thirteen(workspace: Path, settings: Settings) -> None:
    twelve = " ".join(LONG.split()[:12])
    write_inputs([f"{filler(random.Random(2))} {twelve} nobody."])
    run_stage(settings)
    assert found_items() == []


def test_a_run_across_two_documents_or_two_items_does_not_match(workspace: Path, settings: Settings) -> None:
    words = LONG.split()
    write_inputs([" ".join(words[:8]), " ".join(words[8:]), " ".join(SHORT.split()[4:] + TINY.split())])
    run_stage(settings)
    assert found_items() == []


def without_hashes(texts: pa.Array) -> Words:
    """Words that all have the same hash."""
    words = find_words(texts)
    return replace(words, hashes=words.hashes * np.uint64(0))


def test_a_hash_collision_removes_nothing(workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    texts = [filler(rng), f"{filler(rng)} {SHORT}"]
    ids = write_inputs(
        texts, [*ITEMS, ("smoke", "other", "0", "of items not indexed before, so that no index is at hand")]
    )
    monkeypatch.setattr(benchmark_ngrams, "find_words", without_hashes)
    run_stage(settings)
    assert [row["id"] for row in removed_documents()] == [ids[1]]
    assert [item["item"] for item in found_items()] == ["7"]


def test_matches_equal_those_of_sets_of_word_tuples(workspace: Path, settings: Settings) -> None:
    """On texts over a small vocabulary, which have many overlaps."""
    rng = random.Random(4)

    def words(count: int) -> list[str]:
        return [rng.choice("abcde") for _ in range(count)]

    items = [("smoke", "t", str(n), " ".join(words(rng.choice([5, 9, 9, 20])))) for n in range(40)]
    documents = [words(rng.choice([6, 30, 300])) for _ in range(60)]
    write_inputs([" ".join(text) for text in documents], items)

    def runs(text: list[str], size: int) -> set[tuple[str, ...]]:
        return {tuple(text[i : i + size]) for i in range(len(text) - size + 1)}

    held_by: dict[tuple[str, ...], set[int]] = {}
    for number, text in enumerate(documents):
        for size in (8, 13):
            for found in runs(text, size):
                held_by.setdefault(found, set()).add(number)
    expected = {}
    for _, _, name, text in items:
        size = 13 if len(text.split()) >= 13 else 8
        holders = [held_by.get(found, set()) for found in runs(text.split(), size)]
        counted = set().union(*[found for found in holders if len(found) <= search.MAX_DOCUMENTS_PER_NGRAM])
        if counted:
            expected[name] = len(counted)
    run_stage(settings)
    assert expected
    assert {item["item"]: item["documents"] for item in found_items()} == expected
