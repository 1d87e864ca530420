"""Decontamination finds what was planted, and nothing else."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.decontaminate import benchmark_ngrams, search, treatment
from gptoss.tables.documents import (
    DOCUMENT,
    REMOVED,
    document_files,
    document_id,
    read_table,
    removed_files,
)
from gptoss.tracking.mlflow_run import StageRun
from tests.documents import write_documents

decontaminate = import_module("stages.decontaminate").decontaminate

LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
SHORT = "Who wrote the play in which Ophelia drowns?"
TINY = "What is two plus two?"
ITEMS = [("smoke", "gsm8k", "0", LONG), ("smoke", "mmlu", "7", SHORT), ("gpt4", "mmlu", "3", TINY)]


def filler(rng: random.Random, words: int = 120) -> str:
    sentences = []
    while words > 0:
        sentences.append(" ".join(f"w{rng.randrange(9_999)}" for _ in range(12)).capitalize() + ".")
        words -= 12
    return " ".join(sentences)


def document(text: str, number: int = 0, meta: str | None = "{}") -> dict[str, Any]:
    return {
        "id": document_id("web", str(number), text), "text": text, "source": "web", "url": str(number), "title": "",
        "language": "en", "license": "CC0", "meta": meta,
    }  # fmt: skip


def given(
    texts: list[str],
    items: list[tuple[str, str, str, str]] = ITEMS,
    meta: str | None = "{}",
    rows_per_file: int = 7,
) -> list[str]:
    """Write documents and items; returns the documents' ids."""
    shutil.rmtree(paths.DEDUPED, ignore_errors=True)
    paths.DEDUPED.mkdir(parents=True, exist_ok=True)
    paths.BENCHMARKS.mkdir(parents=True, exist_ok=True)
    rows = [document(text, number, meta) for number, text in enumerate(texts)]
    write_documents(paths.DEDUPED, rows, rows_per_file=rows_per_file)
    columns = dict(
        zip(("suite", "task", "item", "text"), zip(*items, strict=True) if items else ([],) * 4, strict=True)
    )
    schema = pa.schema([(name, pa.string()) for name in columns])
    pq.write_table(
        pa.table({k: list(v) for k, v in columns.items()}, schema=schema), paths.BENCHMARKS / "texts.parquet"
    )
    return [row["id"] for row in rows]


def run(settings: Settings) -> dict[str, Any]:
    stage = StageRun("decontaminate")
    metrics = dict(decontaminate(settings, stage))
    shutil.rmtree(stage.state)  # as the command line does when a stage is done
    return metrics


def kept() -> list[dict[str, Any]]:
    table = read_table(paths.CLEAN)
    assert table.schema.equals(DOCUMENT)
    return list(table.to_pylist())


def removed() -> list[dict[str, Any]]:
    table = pa.concat_tables(pq.read_table(path) for path in removed_files(paths.CLEAN))
    assert table.schema.equals(REMOVED)
    return list(table.to_pylist())


def touched() -> list[dict[str, Any]]:
    return list(read_json(paths.CLEAN / "contamination.json")["items"])


def test_planted_items_are_found_and_clean_documents_are_not(workspace: Path, settings: Settings) -> None:
    rng = random.Random(1)
    texts = [filler(rng) for _ in range(20)]
    texts[3] += " natalia SOLD clips to 48 -- of her friends, in april; and then she wept."  # 13 of its words
    texts[7] += f" {SHORT} Shakespeare."
    texts[9] += " Who wrote the play in which Hamlet dies? Natalia sold clips to 48 of her friends."  # 7 and 9 words
    texts[11] += f" {TINY}"
    ids = given(texts)
    metrics = run(settings)
    assert [row["id"] for row in removed()] == [ids[3], ids[7]]
    assert [row["text"] for row in removed()] == [texts[3], texts[7]]
    assert {row["reason"] for row in removed()} == {"contaminated"}
    assert removed()[0]["detail"] == "smoke/gsm8k/0: “natalia sold clips to 48 of her friends in april and then she”"
    assert removed()[1]["detail"] == "smoke/mmlu/7: “who wrote the play in which ophelia drowns”"
    assert [row["id"] for row in kept()] == [name for name in ids if name not in (ids[3], ids[7])]
    assert touched() == [
        {"suite": "smoke", "task": "gsm8k", "item": "0", "documents": 1},
        {"suite": "smoke", "task": "mmlu", "item": "7", "documents": 1},
    ]
    assert metrics["items"] == 3
    assert metrics["items_not_checked"] == 1
    assert metrics["items_touched"] == 2
    assert metrics["documents_removed"] == 2
    assert metrics["removed"] == {"web": 2}


def test_an_item_of_thirteen_words_or_more_needs_thirteen(workspace: Path, settings: Settings) -> None:
    twelve = " ".join(LONG.split()[:12])
    given([f"{filler(random.Random(2))} {twelve} nobody."])
    run(settings)
    assert touched() == []


def test_a_run_across_two_documents_or_two_items_is_no_match(workspace: Path, settings: Settings) -> None:
    words = LONG.split()
    given([" ".join(words[:8]), " ".join(words[8:]), " ".join(SHORT.split()[4:] + TINY.split())])
    run(settings)
    assert touched() == []


def test_a_hash_collision_removes_nothing(workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    texts = [filler(rng), f"{filler(rng)} {SHORT}"]
    ids = given(texts, [*ITEMS, ("smoke", "other", "0", "of items not indexed before, so that no index is at hand")])
    monkeypatch.setattr(benchmark_ngrams, "word_hashes", lambda words: words.starts.astype("uint64") * 0)  # all collide
    run(settings)
    assert [row["id"] for row in removed()] == [ids[1]]
    assert [item["item"] for item in touched()] == ["7"]


def test_every_overlap_of_random_texts_is_found(workspace: Path, settings: Settings) -> None:
    """Against sets of word tuples, on texts over a small vocabulary, where overlaps abound."""
    rng = random.Random(4)

    def words(count: int) -> list[str]:
        return [rng.choice("abcde") for _ in range(count)]

    items = [("smoke", "t", str(n), " ".join(words(rng.choice([5, 9, 9, 20])))) for n in range(40)]
    documents = [words(rng.choice([6, 30, 300])) for _ in range(60)]
    given([" ".join(text) for text in documents], items)

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
        counted = set().union(*[found for found in holders if len(found) <= search.COMMON])
        if counted:
            expected[name] = len(counted)
    run(settings)
    assert expected
    assert {item["item"]: item["documents"] for item in touched()} == expected


def test_a_common_phrase_is_ignored_and_said_so(workspace: Path, settings: Settings) -> None:
    rng = random.Random(5)
    phrase = "this license is granted to you free of charge"
    texts = [f"{filler(rng)} {phrase}" for _ in range(search.COMMON + 1)]
    given(texts, [("smoke", "law", "1", phrase), *ITEMS])
    metrics = run(settings)
    assert len(kept()) == len(texts)
    assert metrics["ngrams_ignored"] == 2  # nine words hold two runs of eight
    assert read_json(paths.CLEAN / "contamination.json")["ignored_ngrams"] == [
        {"ngram": phrase.removeprefix("this "), "items": 1},
        {"ngram": phrase.removesuffix(" charge"), "items": 1},
    ]
    given(texts[1:], [("smoke", "law", "1", phrase)])
    assert run(settings)["documents_removed"] == search.COMMON


def test_mark_keeps_the_text_and_names_the_items(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    rng = random.Random(6)
    texts = [filler(rng), f"{filler(rng)} {SHORT} {LONG}", filler(rng)]
    for meta in ('{"page": 4}', None):
        given(texts, meta=meta)
        metrics = run(settings_with(**{"decontaminate.policy": "mark"}))
        assert [row["text"] for row in kept()] == texts
        assert json.loads(kept()[1]["meta"])["contaminated"] == ["smoke/gsm8k/0", "smoke/mmlu/7"]
        assert kept()[0]["meta"] == meta
        assert metrics["documents_marked"] == 1
        assert removed() == []
    assert len(touched()) == 2


def test_trim_cuts_the_sentences_that_hold_the_match(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    rng = random.Random(7)
    before, middle, after = (filler(rng) for _ in range(3))
    text = f"{before} He said: {LONG} {middle}\n\nÜber alles. Indeed — {SHORT} And {after}"
    given([text, LONG, filler(rng)])
    metrics = run(settings_with(**{"decontaminate.policy": "trim"}))
    trimmed = kept()[0]
    assert trimmed["text"] == f"{before}\n\n{middle}\n\nÜber alles.\n\nAnd {after}"
    assert json.loads(trimmed["meta"]) == {
        "contaminated": ["smoke/gsm8k/0", "smoke/mmlu/7"],
        "trimmed_characters": len(text) - len(trimmed["text"]),
    }
    assert [row["text"] for row in removed()] == [LONG]  # nothing worth keeping is left of it
    assert metrics["documents_trimmed"] == 1
    assert metrics["documents_removed"] == 1


def test_trimmed_text_is_clean_and_loses_little(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(**{"decontaminate.policy": "trim"})
    rng = random.Random(8)
    endless = " ".join(f"w{rng.randrange(9_999)}" for _ in range(400))  # no sentence anywhere
    nested = f"{endless}. Who wrote the play. {SHORT} In which Ophelia drowns {endless}"  # its pieces make a new match
    given([f"{endless} {SHORT[:-1]} {endless}", nested])
    run(settings)
    texts = [row["text"] for row in kept()]
    assert len(texts) == 2
    for text in texts:
        assert 2 * len(endless) - 2 * treatment.SENTENCE_REACH <= len(text) <= 2 * len(endless) + 3
        assert set(text.replace(".", "").split()) <= set(endless.split())  # cut between words
    given(texts)
    assert run(settings)["items_touched"] == 0


def test_trim_takes_linear_time_where_all_matches() -> None:
    text = " ".join(f"wörd{number}" for number in range(100_000))
    ends = f"{'Before it. ' * 30}{text}. {'After it. ' * 30}"
    started = time.process_time()
    pieces = treatment.trim(ends, [(60 + first, 68 + first) for first in range(100_000 - 8)])
    assert [piece.partition(" ")[0] for piece in pieces] == ["Before", "After"]
    assert time.process_time() - started < 3


def test_a_document_in_too_many_pieces_is_removed(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    rng = random.Random(9)
    given([f" {SHORT} ".join(filler(rng) for _ in range(treatment.MAX_PIECES + 1))])
    run(settings_with(**{"decontaminate.policy": "trim"}))
    assert len(removed()) == 1


@pytest.mark.parametrize("policy", ["drop", "trim", "mark"])
def test_empty_inputs(workspace: Path, settings_with: Callable[..., Settings], policy: str) -> None:
    settings = settings_with(**{"decontaminate.policy": policy})
    given([], ITEMS)
    assert run(settings)["documents_in"] == 0
    given(["", "?!", "x"], [])
    assert run(settings)["documents_kept"] == 3
    given(["", "?!", "x"], [("smoke", "empty", "0", ""), *ITEMS])
    assert run(settings)["items_not_checked"] == 2


def test_missing_benchmark_texts_are_a_clear_error(workspace: Path, settings: Settings) -> None:
    given(["x"])
    (paths.BENCHMARKS / "texts.parquet").unlink()
    with pytest.raises(DataError, match="dvc repro benchmarks"):
        run(settings)


def test_parts_keep_their_numbers_and_their_cut_changes_no_result(workspace: Path, settings: Settings) -> None:
    rng = random.Random(11)
    phrase = "this license is granted to you free of charge"
    texts = [f"{filler(rng)} {phrase if number % 2 else ''}" for number in range(2 * (search.COMMON + 1))]
    texts[4] += f" {SHORT}"
    texts[9] += f" {LONG}"
    items = [("smoke", "law", "1", phrase), *ITEMS]
    outcomes = []
    for rows_per_file in (100, 6, 1):
        given(texts, items, rows_per_file=rows_per_file)
        metrics = run(settings)
        assert [path.name for path in document_files(paths.CLEAN)] == [
            path.name for path in document_files(paths.DEDUPED)
        ]
        assert len(removed_files(paths.CLEAN)) == len(document_files(paths.CLEAN))
        outcomes.append((metrics, kept(), removed(), (paths.CLEAN / "contamination.json").read_bytes()))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert [len(outcomes[0][1]), len(outcomes[0][2])] == [20, 2]


def test_a_killed_run_leaves_the_former_output_and_continues(
    workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(10)
    texts = [*(filler(rng) for _ in range(20)), f"{filler(rng)} {SHORT}", LONG]
    given(texts)
    run(settings)
    before = _hashes()
    run(settings)
    assert _hashes() == before
    searched = []
    known = benchmark_ngrams.find_words

    def die_at_the_third(texts: pa.Array) -> benchmark_ngrams.Words:
        searched.append(texts)
        if len(searched) == 3:
            raise KeyboardInterrupt
        return known(texts)

    monkeypatch.setattr(benchmark_ngrams, "find_words", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    assert _hashes() == before
    assert sorted(path.name for path in Path("data").iterdir()) == ["benchmarks", "clean", "deduped"]
    shutil.rmtree(paths.CLEAN)
    run(settings)
    assert _hashes() == before
    documents = [text for texts in searched for text in texts.to_pylist()]
    assert documents.count(texts[0]) == 1  # the parts searched before the kill were not searched again


def _hashes() -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths.CLEAN.iterdir())}
