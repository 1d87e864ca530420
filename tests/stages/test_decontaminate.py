"""The decontaminate stage finds planted items, and nothing else."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.decontaminate import benchmark_ngrams, search
from gptoss.tables.documents import document_files, removed_files
from gptoss.text.normalize import Words
from tests.decontaminate.stage_runs import (
    ITEMS,
    LONG,
    SHORT,
    TINY,
    filler,
    found_items,
    hashes,
    kept_documents,
    removed_documents,
    run_stage,
    write_inputs,
)


def test_planted_items_are_found_and_clean_documents_are_not(workspace: Path, settings: Settings) -> None:
    rng = random.Random(1)
    texts = [filler(rng) for _ in range(20)]
    texts[3] += " natalia SOLD clips to 48 -- of her friends, in april; and then she wept."  # 13 of its words
    texts[7] += f" {SHORT} Shakespeare."
    texts[9] += " Who wrote the play in which Hamlet dies? Natalia sold clips to 48 of her friends."  # 7 and 9 words
    texts[11] += f" {TINY}"
    ids = write_inputs(texts)
    metrics = run_stage(settings)
    assert [row["id"] for row in removed_documents()] == [ids[3], ids[7]]
    assert [row["text"] for row in removed_documents()] == [texts[3], texts[7]]
    assert {row["reason"] for row in removed_documents()} == {"contaminated"}
    assert (
        removed_documents()[0]["detail"]
        == "smoke/gsm8k/0: “natalia sold clips to 48 of her friends in april and then she”"
    )
    assert removed_documents()[1]["detail"] == "smoke/mmlu/7: “who wrote the play in which ophelia drowns”"
    assert [row["id"] for row in kept_documents()] == [name for name in ids if name not in (ids[3], ids[7])]
    assert found_items() == [
        {"suite": "smoke", "task": "gsm8k", "item": "0", "documents": 1},
        {"suite": "smoke", "task": "mmlu", "item": "7", "documents": 1},
    ]
    assert metrics["items"] == 3
    assert metrics["items_not_checked"] == 1
    assert metrics["items_touched"] == 2
    assert metrics["documents_removed"] == 2
    assert metrics["removed"] == {"web": 2}


def test_a_common_phrase_is_ignored_and_reported(workspace: Path, settings: Settings) -> None:
    rng = random.Random(5)
    phrase = "this license is granted to you free of charge"
    texts = [f"{filler(rng)} {phrase}" for _ in range(search.MAX_DOCUMENTS_PER_NGRAM + 1)]
    write_inputs(texts, [("smoke", "law", "1", phrase), *ITEMS])
    metrics = run_stage(settings)
    assert len(kept_documents()) == len(texts)
    assert metrics["ngrams_ignored"] == 2  # nine words hold two runs of eight
    assert read_json(paths.CLEAN / "contamination.json")["ignored_ngrams"] == [
        {"ngram": phrase.removeprefix("this "), "items": 1},
        {"ngram": phrase.removesuffix(" charge"), "items": 1},
    ]
    write_inputs(texts[1:], [("smoke", "law", "1", phrase)])
    assert run_stage(settings)["documents_removed"] == search.MAX_DOCUMENTS_PER_NGRAM


def test_missing_benchmark_texts_are_an_error_with_the_fix(workspace: Path, settings: Settings) -> None:
    write_inputs(["x"])
    (paths.BENCHMARKS / "texts.parquet").unlink()
    with pytest.raises(DataError, match="dvc repro benchmarks"):
        run_stage(settings)


def test_parts_keep_their_numbers_and_the_division_into_parts_does_not_matter(
    workspace: Path, settings: Settings
) -> None:
    rng = random.Random(11)
    phrase = "this license is granted to you free of charge"
    texts = [
        f"{filler(rng)} {phrase if number % 2 else ''}" for number in range(2 * (search.MAX_DOCUMENTS_PER_NGRAM + 1))
    ]
    texts[4] += f" {SHORT}"
    texts[9] += f" {LONG}"
    items = [("smoke", "law", "1", phrase), *ITEMS]
    outcomes = []
    for rows_per_file in (100, 6, 1):
        write_inputs(texts, items, rows_per_file=rows_per_file)
        metrics = run_stage(settings)
        assert [path.name for path in document_files(paths.CLEAN)] == [
            path.name for path in document_files(paths.DEDUPED)
        ]
        assert len(removed_files(paths.CLEAN)) == len(document_files(paths.CLEAN))
        outcomes.append(
            (metrics, kept_documents(), removed_documents(), (paths.CLEAN / "contamination.json").read_bytes())
        )
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert [len(outcomes[0][1]), len(outcomes[0][2])] == [20, 2]


def test_a_killed_run_keeps_the_previous_output_and_continues(
    workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(10)
    texts = [*(filler(rng) for _ in range(20)), f"{filler(rng)} {SHORT}", LONG]
    write_inputs(texts)
    run_stage(settings)
    before = hashes()
    run_stage(settings)
    assert hashes() == before
    searched = []
    known = benchmark_ngrams.find_words

    def die_at_the_third(texts: pa.Array) -> Words:
        searched.append(texts)
        if len(searched) == 3:
            raise KeyboardInterrupt
        return known(texts)

    monkeypatch.setattr(benchmark_ngrams, "find_words", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_stage(settings)
    assert hashes() == before
    assert sorted(path.name for path in Path("data").iterdir()) == ["benchmarks", "clean", "deduped"]
    shutil.rmtree(paths.CLEAN)
    run_stage(settings)
    assert hashes() == before
    documents = [text for texts in searched for text in texts.to_pylist()]
    assert documents.count(texts[0]) == 1  # the parts searched before the kill were not searched again
