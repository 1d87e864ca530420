"""The dedup stage on small corpora with planted duplicates."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gptoss.config.settings import Settings
from gptoss.core import atomic_files, paths
from gptoss.core.errors import DataError
from gptoss.tables.documents import DOCUMENT, write_table
from gptoss.tracking.mlflow_run import StageRun
from stages.dedup import dedup
from tests.dedup.stage_runs import (
    SOURCES,
    brute_force_jaccard,
    document,
    edited,
    essay,
    hashes,
    kept_documents,
    lenient,
    removed_documents,
    run_stage,
    write_curated,
)

__all__ = ["lenient"]


def test_planted_duplicates_are_removed_and_nothing_else(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(5)
    originals = [essay(rng) for _ in range(30)]
    rows = [document(" ".join(words) + " the end of it") for words in originals]
    exact = [document(" ".join(words).upper() + ",  THE end -- of it!", "beta") for words in originals[:10]]
    near = [document(" ".join(edited(words, 3, rng)), "beta") for words in originals[10:20]]  # J about 0.9
    far = [document(" ".join(edited(words, 32, rng)), "beta") for words in originals[20:]]  # J about 0.3
    write_curated(rows + exact + near + far)
    metrics = run_stage(lenient)
    removed = {row["id"]: row for row in removed_documents()}
    # The exact copies are longer by their punctuation, so the copy is kept and the original goes.
    assert {row["id"] for row in rows[:10]} | {row["id"] for row in near} == set(removed)
    texts = {row["id"]: row["text"] for row in rows + exact + near + far}
    survivors = {row["id"] for row in kept_documents()}
    assert survivors | set(removed) == set(texts)
    for row in removed.values():
        assert row["duplicate_of"] in survivors
        assert row["text"] == texts[row["id"]]
        if row["reason"] == "exact":
            assert row["jaccard"] == 1.0
        else:
            true = brute_force_jaccard(row["text"], texts[row["duplicate_of"]])
            assert row["jaccard"] == pytest.approx(true, abs=1e-7)
            assert 0.88 < true < 0.93
    for row, original in zip(far, rows[20:], strict=True):
        assert 0.25 < brute_force_jaccard(row["text"], original["text"]) < 0.35
    assert metrics["all"]["removed_exact"] == metrics["all"]["removed_fuzzy"] == 10
    assert metrics["sources"]["alpha"]["documents_kept"] == 20
    assert metrics["sources"]["beta"]["removed_fuzzy"] == 10
    assert metrics["all"]["bytes_in"] == sum(len(text.encode()) for text in texts.values())
    assert metrics["clusters"] == {"size_02": 20}
    assert metrics["candidate_pairs"] >= metrics["verified_pairs"] == 10


def test_the_order_of_the_input_does_not_matter(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(11)
    originals = [essay(rng, 120) for _ in range(8)]
    rows = [document(" ".join(edited(words, rng.choice([1, 2, 4]), rng))) for words in originals for _ in range(7)]
    rows += [document(row["text"].title(), "beta") for row in rows[::3]]
    outcomes = []
    for _ in range(3):
        write_curated(rows)
        run_stage(lenient)
        partners = {row["id"]: (row["duplicate_of"], row["jaccard"], row["reason"]) for row in removed_documents()}
        outcomes.append((sorted(row["id"] for row in kept_documents()), partners))
        rng.shuffle(rows)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    texts = {row["id"]: row["text"] for row in rows}
    for name, (partner, similarity, _) in outcomes[0][1].items():
        assert len(texts[partner]) >= len(texts[name])
        assert similarity == pytest.approx(brute_force_jaccard(texts[name], texts[partner]), abs=1e-7)
        assert similarity >= lenient.dedup.threshold


def test_short_and_wordless_documents(workspace: Path, lenient: Settings) -> None:
    texts = ["one two", "One, two!", "one two three", "!!!", "???", "!!!", "", "a b c d e", "a b c d f"]
    write_curated([document(text, "alpha", f"url{number}") for number, text in enumerate(texts)])
    run_stage(lenient)
    assert sorted(row["text"] for row in kept_documents()) == sorted(
        ["One, two!", "one two three", "!!!", "???", "", "a b c d e", "a b c d f"]
    )
    assert sorted(row["text"] for row in removed_documents()) == ["!!!", "one two"]


def test_a_document_listed_twice_is_kept_once(workspace: Path, lenient: Settings) -> None:
    row = document("to be or not to be that is the question")
    write_curated([row, row])
    run_stage(lenient)
    assert (
        [found["id"] for found in kept_documents()]
        == [found["duplicate_of"] for found in removed_documents()]
        == [row["id"]]
    )


def test_of_two_hundred_near_duplicates_one_is_kept(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(2)
    words = essay(rng, 150)
    write_curated([document(" ".join(edited(words, 1, rng)) + " x" * (number % 5)) for number in range(200)])
    metrics = run_stage(lenient)
    assert len(kept_documents()) == 1
    assert metrics["clusters"] == {"size_10_or_more": 1}
    assert metrics["largest_cluster"] == 200


def test_a_source_that_loses_too_much_fails_the_stage(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    source = {"format": "gutenberg", "urls": ["x"], "license": "CC0", "language": "en"}
    strict = settings_with(**{"sources": dict.fromkeys(SOURCES, source), "dedup.max_removed_fraction": 0.6})
    rng = random.Random(3)
    words = " ".join(essay(rng))
    write_curated(
        [document(f"{words}.", "alpha", f"u{number}") for number in range(3)] + [document(words[:-9], "beta")]
    )
    with pytest.raises(
        DataError, match=r"2 of 3 documents of source alpha .*0\.667 > dedup\.max_removed_fraction = 0\.6"
    ):
        run_stage(strict)
    assert not paths.DEDUPED.exists()


def test_no_documents_at_all(workspace: Path, lenient: Settings) -> None:
    write_curated([])
    assert run_stage(lenient)["all"]["documents_in"] == 0
    assert kept_documents() == removed_documents() == []


def test_sources_are_in_order_of_name_and_documents_in_their_own_order(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(4)
    rows = [document(" ".join(essay(rng)), rng.choice(SOURCES)) for _ in range(40)]
    write_curated(rows)
    run_stage(lenient)
    expected = [row for source in SOURCES for row in rows if row["source"] == source]
    assert kept_documents() == expected


def test_two_runs_give_the_same_bytes_and_other_parts_the_same_rows(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(6)
    rows = [document(" ".join(essay(rng)), "alpha") for _ in range(40)]
    rows += [document(row["text"] + " etc", "beta") for row in rows[::2]]
    write_curated(rows)
    run_stage(lenient)
    first, documents, removed = hashes(paths.DEDUPED), kept_documents(), removed_documents()
    run_stage(lenient)
    assert hashes(paths.DEDUPED) == first
    assert sorted(first) == [f"{kind}-{part:05d}.parquet" for kind in ("documents", "removed") for part in range(6)]
    for path in paths.curated("alpha").iterdir():
        path.unlink()
    write_table(paths.curated("alpha") / "documents-00000.parquet", pa.Table.from_pylist(rows[:40], schema=DOCUMENT))
    run_stage(lenient)
    assert (kept_documents(), removed_documents()) == (documents, removed)


def test_a_killed_stage_continues_and_gives_the_same_bytes(
    workspace: Path, lenient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(9)
    rows = [document(" ".join(essay(rng)), "alpha") for _ in range(30)]
    rows += [document(row["text"] + " etc", "beta") for row in rows[::2]]
    write_curated(rows)
    indexed = lenient.model_copy(update={"dedup": lenient.dedup.model_copy(update={"index": True})})
    run_stage(indexed)
    before, metrics = hashes(paths.DEDUPED), None
    shutil.rmtree(paths.DEDUPED)
    writes = 0
    for allowed in range(0, 200, 3):
        write_text = atomic_files.write_text

        def dying(path: Path, text: str, allowed: int = allowed, write: Any = write_text) -> None:
            nonlocal writes
            writes += 1
            if writes > allowed:
                raise KeyboardInterrupt
            write(path, text)

        writes = 0
        with monkeypatch.context() as patched:
            patched.setattr("gptoss.core.atomic_files.write_text", dying)
            try:
                metrics = dict(dedup(indexed, StageRun("dedup")))
                break
            except KeyboardInterrupt:
                assert not paths.DEDUPED.exists()
    assert allowed > 3 and metrics is not None
    assert hashes(paths.DEDUPED) == before
    assert metrics["all"]["removed_fuzzy"] == 15
