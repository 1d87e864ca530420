"""Repeated passages are removed at their full length; first occurrences and unique text stay."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.dedup import SubstringsConfig
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.dedup import first_occurrence, passage_remover, remove_passages
from gptoss.dedup.passage_remover import PASSAGES
from gptoss.tables.documents import DOCUMENT, document_id, read_table
from gptoss.text.normalize import find_words
from gptoss.text.spans import remove_spans
from gptoss.tracking.mlflow_run import StageRun
from stages.dedup import dedup
from tests.documents import write_documents

Outcome = tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]

WINDOW = 50
STATE = Path("state")


def document(text: str, number: int, meta: str | None = "{}") -> dict[str, Any]:
    return {
        "id": document_id("web", str(number), text), "text": text, "source": "web" if number % 2 else "books",
        "url": str(number), "title": "", "language": "en", "license": "CC0", "meta": meta,
    }  # fmt: skip


def given(texts: list[str], per_part: int = 1000, meta: str | None = "{}") -> list[Path]:
    shutil.rmtree("parts", ignore_errors=True)
    shutil.rmtree(STATE, ignore_errors=True)
    Path("parts").mkdir()
    rows = [document(text, number, meta) for number, text in enumerate(texts)]
    write_documents(Path("parts"), rows, rows_per_file=per_part)
    return sorted(Path("parts").iterdir())


def run(parts: list[Path], window: int = WINDOW, min_kept_words: int = 1) -> Outcome:
    new, counts = remove_passages.remove_passages(
        parts, SubstringsConfig(window=window, min_kept_words=min_kept_words), STATE
    )
    tables = [pq.read_table(path) for path in new]
    assert all(table.schema.equals(DOCUMENT) for table in tables)
    sample = pq.read_table(STATE / "passages.parquet")
    assert sample.schema.equals(PASSAGES)
    return [row for table in tables for row in table.to_pylist()], counts, sample.to_pylist()


def texts(outcome: Outcome) -> list[str]:
    return [row["text"] for row in outcome[0]]


def words(rng: random.Random, count: int) -> str:
    return " ".join(f"w{rng.randrange(10**6)}" for _ in range(count))


def reference(documents: list[list[str]], window: int, min_kept_words: int) -> list[str]:
    """The definition in remove_passages.py in plain Python, on lists of words."""
    first: dict[tuple[str, ...], tuple[int, int]] = {}
    left = []
    for number, text in enumerate(documents):
        cut = [False] * len(text)
        for start in range(len(text) - window + 1):
            earlier, place = first.setdefault(tuple(text[start : start + window]), (number, start))
            if earlier != number or start - place >= window:
                cut[start : start + window] = [True] * window
        place = 0
        while len(text) - sum(cut) < min_kept_words and any(cut):
            place = cut.index(True)
            while place < len(text) and cut[place]:
                cut[place] = False
                place += 1
        left.append(" ".join(word for word, is_cut in zip(text, cut, strict=True) if not is_cut))
    return left


@pytest.mark.parametrize("window", [1, 2, 7, 12])
def test_the_removed_words_are_those_of_the_definition(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """On texts of few different words, whose repeats overlap and touch each other and the ends of documents."""
    rng = random.Random(window)
    monkeypatch.setattr(first_occurrence, "KEYS_PER_RANGE", 400)
    for letters, min_kept_words in (("a", 1), ("ab", 1), ("ab", 30), ("abcdefgh", 1)):
        documents = [[rng.choice(letters) for _ in range(rng.choice([0, 1, 5, 40, 90]))] for _ in range(25)]
        for copy in range(10):
            source = documents[rng.randrange(25)]
            start = rng.randrange(len(source) + 1)
            documents[copy][5:5] = source[start : start + 2 * window]
        outcome = run(given([" ".join(text) for text in documents], per_part=9), window, min_kept_words)
        assert texts(outcome) == reference(documents, window, min_kept_words)


def test_planted_passages_are_found_and_the_first_occurrence_stays(workspace: Path) -> None:
    rng = random.Random(1)
    planted = {length: words(rng, length) for length in (WINDOW - 1, WINDOW, WINDOW + 1, 200)}
    heads, tails = ([words(rng, 80) for _ in range(8)] for _ in range(2))
    originals = [
        f"{head} {passage} {tail}" for head, passage, tail in zip(heads, planted.values(), tails, strict=False)
    ]
    copies = [
        f"{head}\n\n{passage.upper().replace(' ', ', ')}. {tail}"
        for head, passage, tail in zip(heads[4:], planted.values(), tails[4:], strict=True)
    ]
    outcome = run(given(originals + copies, per_part=3))
    assert (
        texts(outcome)
        == [
            *originals,
            copies[0],  # one word too short
            *(f"{head}\n\n{tail}" for head, tail in zip(heads[5:], tails[5:], strict=True)),
        ]
    )
    rows, counts, sample = outcome
    assert [json.loads(row["meta"]) for row in rows[4:]] == [
        {}, *({"cut_passages": 1, "cut_words": length} for length in (50, 51, 200)),
    ]  # fmt: skip
    before, after = (sum(len(text) for text in several) for several in (copies, texts(outcome)[4:]))
    sizes = {source: counts["sources"][source].pop("bytes_cut") for source in ("books", "web")}
    assert counts == {
        "documents_cut": 3, "passages_cut": 3, "words_cut": 301, "documents_spared": 0, "bytes_cut": before - after,
        "sources": {"books": {"documents_cut": 1, "passages_cut": 1, "words_cut": 51},
                    "web": {"documents_cut": 2, "passages_cut": 2, "words_cut": 250}},
    }  # fmt: skip
    assert sum(sizes.values()) == counts["bytes_cut"]
    assert [row["id"] for row in rows] == [
        document(text, number)["id"] for number, text in enumerate(originals + copies)
    ]
    assert {(found["id"], found["words"], found["first_id"]) for found in sample} == {
        (rows[number + 4]["id"], length, rows[number]["id"]) for number, length in ((1, 50), (2, 51), (3, 200))
    }
    excerpts = {found["words"]: found["passage"] for found in sample}
    assert excerpts[50] == copies[1][len(heads[5]) + 2 :][: passage_remover.EXCERPT]


def test_a_repeat_within_a_document_is_removed_and_a_refrain_keeps_its_first_window(workspace: Path) -> None:
    rng = random.Random(2)
    passage, between = words(rng, 60), words(rng, 9)
    refrain = " ".join(["la"] * 500)
    outcome = run(given([f"{passage} {between} {passage}", f"so {refrain} it ended"]))
    assert texts(outcome) == [f"{passage} {between}", f"so {' '.join(['la'] * 50)} it ended"]


def test_min_kept_words_stay_in_every_document(workspace: Path) -> None:
    rng = random.Random(3)
    first, second, own = words(rng, 60), words(rng, 70), words(rng, 20)
    given_texts = [f"{first} {words(rng, 9)} {second}", first, f"{second} {own} {first}", f"{first} {own}"]
    outcome = run(given(given_texts), min_kept_words=20)
    assert texts(outcome) == [*given_texts[:2], own, own]
    assert outcome[1]["documents_spared"] == 1
    outcome = run(given(given_texts), min_kept_words=21)
    assert texts(outcome) == [*given_texts[:2], f"{second} {own}", given_texts[3]]
    assert outcome[1]["documents_spared"] == 3
    assert json.loads(outcome[0][2]["meta"]) == {"cut_passages": 1, "cut_words": 60}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("One two. CUT CUT. Three four.", "One two. Three four."),
        ("One two, CUT\nCUT three.", "One two,\nthree."),
        ("One two.\n\nCUT CUT!\n\n“Three”", "One two.\n\n“Three”"),
        ("One CUT.\n\nCUT two.", "One\n\ntwo."),
        ("“CUT CUT!” (Three) four", "(Three) four"),
        ("One two. CUT CUT!\n", "One two."),
        ("Один ÜBER — CUT-CUT — два CUT CUT трое", "Один ÜBER два трое"),
        ("- one\n- CUT.\n  - two", "- one\n  - two"),
        ("CUT CUT.\n- one", "- one"),
        ("一二。CUT CUT。三四", "一二。 三四"),
    ],
)
def test_the_text_around_a_removed_passage_is_joined(text: str, left: str) -> None:
    found = find_words(pa.array([text], pa.large_string()), lowercase=False)
    is_cut = [text.encode()[start:end] == b"CUT" for start, end in zip(found.starts, found.ends, strict=True)]
    edges = np.flatnonzero(np.diff([False, *is_cut, False])).tolist()
    spans = list(zip(edges[::2], edges[1::2], strict=True))
    assert remove_spans(text.encode(), found.starts.tolist(), found.ends.tolist(), spans) == left


def test_the_division_into_parts_does_not_matter(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    shared = [words(rng, rng.choice([50, 80, 300])) for _ in range(12)]
    corpus = ["", "?!", "short"]
    for _ in range(40):
        corpus.append(" ".join(piece for _ in range(3) for piece in (words(rng, 30), rng.choice(shared))))
    outcomes = [run(given(corpus, per_part)) for per_part in (100, 9)]
    monkeypatch.setattr(first_occurrence, "KEYS_PER_RANGE", 1000)
    outcomes.append(run(given(corpus, 20)))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][1]["documents_cut"] > 25
    assert sum(passage["copies"] for passage in outcomes[0][2]) == outcomes[0][1]["passages_cut"]
    assert texts(outcomes[0])[:3] == corpus[:3]


def test_texts_without_repeats_stay_the_same_files(workspace: Path) -> None:
    rng = random.Random(5)
    parts = given([words(rng, 200) for _ in range(9)], per_part=4)
    new, counts = remove_passages.remove_passages(parts, SubstringsConfig(window=WINDOW, min_kept_words=1), STATE)
    assert new == parts
    assert counts["documents_cut"] == 0
    assert pq.read_table(STATE / "passages.parquet").num_rows == 0
    assert run(given([]))[0] == []


def test_the_stage_removes_passages_from_documents_that_are_no_duplicates(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    rng = random.Random(7)
    source = {"format": "gutenberg", "urls": ["x"], "license": "CC0", "language": "en"}
    passage = words(rng, 70)
    corpus = [f"{words(rng, 60)} {passage} {words(rng, 60)}" for _ in range(6)]
    rows = [document(text, number) for number, text in enumerate([*corpus, corpus[0]])]
    for name in ("books", "web"):
        paths.curated(name).mkdir(parents=True)
        write_documents(paths.curated(name), (row for row in rows if row["source"] == name), rows_per_file=2)
    settings = settings_with(
        **{
            "sources": {"books": source, "web": source},
            "dedup.max_removed_fraction": 1.0,
            "dedup.substrings": {"window": WINDOW, "min_kept_words": 10},
        }
    )
    metrics = dedup(settings, StageRun("dedup"))
    left = read_table(paths.DEDUPED).column("text").to_pylist()
    assert [passage in text for text in left] == [True, False, False, False, False, False]
    assert metrics["all"]["removed_exact"] == 1
    assert metrics["all"]["bytes_kept"] == sum(len(text) for text in left)
    assert metrics["all"]["bytes_kept"] == sum(metrics["sources"][name]["bytes_kept"] for name in ("books", "web"))
    assert metrics["passages"]["words_cut"] == 5 * 70
    assert pq.read_table(paths.DEDUPED / "passages.parquet").column("copies").to_pylist() == [5]


def test_a_killed_run_continues_with_the_same_result(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(6)
    passage = words(rng, 90)
    corpus = [f"{words(rng, 60)} {passage} {words(rng, 60)}" for _ in range(12)]
    expected = run(given(corpus, per_part=3, meta=None))
    parts = given(corpus, per_part=3, meta=None)
    for module, name, survived in (
        (remove_passages, "find_words", 2),
        (remove_passages, "window_keys", 1),
        (passage_remover, "replace_documents", 3),
        (remove_passages, "write_table", 1),
    ):
        known = getattr(module, name)
        calls = iter(range(survived))

        def die(*values: Any, known: Any = known, calls: Any = calls, **more: Any) -> Any:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return known(*values, **more)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, die)
            with pytest.raises(KeyboardInterrupt):
                run(parts)
    assert run(parts) == expected
    assert [json.loads(row["meta"])["cut_words"] for row in expected[0][1:]] == [90] * 11
