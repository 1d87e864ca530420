"""The dedup stage on small corpora with planted duplicates."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import atomic_files, paths
from gptoss.core.errors import DataError
from gptoss.tables.documents import (
    DOCUMENT,
    REMOVED,
    document_id,
    read_table,
    removed_files,
    write_table,
)
from gptoss.tracking.mlflow_run import StageRun
from tests.documents import write_documents

dedup = import_module("stages.dedup").dedup

SOURCES = ("alpha", "beta")
Row = dict[str, str]


@pytest.fixture
def lenient(settings_with: Callable[..., Settings]) -> Settings:
    """Two sources, no alarm."""
    source = {"format": "gutenberg", "urls": ["x"], "license": "CC0", "language": "en"}
    return settings_with(**{"sources": dict.fromkeys(SOURCES, source), "dedup.max_removed_fraction": 1.0})


def document(text: str, source: str = "alpha", url: str = "") -> Row:
    url = url or f"{source}/{hashlib.md5(text.encode()).hexdigest()[:6]}"
    return {
        "id": document_id(source, url, text), "text": text, "source": source, "url": url, "title": "", "language": "en",
        "license": "CC0", "meta": "{}",
    }  # fmt: skip


def given(rows: list[Row]) -> None:
    shutil.rmtree("data/curated", ignore_errors=True)
    for source in SOURCES:
        folder = paths.curated(source)
        folder.mkdir(parents=True)
        write_documents(folder, (row for row in rows if row["source"] == source), rows_per_file=13)


def run(settings: Settings) -> dict[str, Any]:
    """The stage as `run_stage` runs it: the resume state goes when it is done."""
    stage = StageRun("dedup")
    metrics = dict(dedup(settings, stage))
    shutil.rmtree(stage.state)
    return metrics


def kept() -> list[Row]:
    return list(read_table(paths.DEDUPED).to_pylist())


def removed() -> list[dict[str, Any]]:
    table = pa.concat_tables([pq.read_table(path) for path in removed_files(paths.DEDUPED)])
    assert table.schema.equals(REMOVED)
    return list(table.to_pylist())


def essay(rng: random.Random, words: int = 300) -> list[str]:
    return [f"w{rng.randrange(50_000)}" for _ in range(words)]


def edited(words: list[str], edits: int, rng: random.Random) -> list[str]:
    """Replace every so many words: each edit spoils five shingles."""
    changed = list(words)
    for number in range(edits):
        changed[(number * len(words)) // edits + 2] = f"e{rng.randrange(10**9)}"
    return changed


def brute_force_jaccard(left: str, right: str, size: int = 5) -> float:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} or {tuple(words)}

    return len(grams(left) & grams(right)) / len(grams(left) | grams(right))


def test_planted_duplicates_are_found_and_the_rest_is_kept(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(5)
    originals = [essay(rng) for _ in range(30)]
    rows = [document(" ".join(words) + " the end of it") for words in originals]
    exact = [document(" ".join(words).upper() + ",  THE end -- of it!", "beta") for words in originals[:10]]
    near = [document(" ".join(edited(words, 3, rng)), "beta") for words in originals[10:20]]  # J about 0.9
    far = [document(" ".join(edited(words, 32, rng)), "beta") for words in originals[20:]]  # J about 0.3
    given(rows + exact + near + far)
    metrics = run(lenient)
    gone = {row["id"]: row for row in removed()}
    # The exact copies are longer by their punctuation, so the copy is kept and the original goes.
    assert {row["id"] for row in rows[:10]} | {row["id"] for row in near} == set(gone)
    texts = {row["id"]: row["text"] for row in rows + exact + near + far}
    survivors = {row["id"] for row in kept()}
    assert survivors | set(gone) == set(texts)
    for row in gone.values():
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


def test_the_order_of_the_input_changes_nothing(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(11)
    originals = [essay(rng, 120) for _ in range(8)]
    rows = [document(" ".join(edited(words, rng.choice([1, 2, 4]), rng))) for words in originals for _ in range(7)]
    rows += [document(row["text"].title(), "beta") for row in rows[::3]]
    outcomes = []
    for _ in range(3):
        given(rows)
        run(lenient)
        partners = {row["id"]: (row["duplicate_of"], row["jaccard"], row["reason"]) for row in removed()}
        outcomes.append((sorted(row["id"] for row in kept()), partners))
        rng.shuffle(rows)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    texts = {row["id"]: row["text"] for row in rows}
    for name, (partner, similarity, _) in outcomes[0][1].items():
        assert len(texts[partner]) >= len(texts[name])
        assert similarity == pytest.approx(brute_force_jaccard(texts[name], texts[partner]), abs=1e-7)
        assert similarity >= lenient.dedup.threshold


def test_short_and_wordless_documents(workspace: Path, lenient: Settings) -> None:
    texts = ["one two", "One, two!", "one two three", "!!!", "???", "!!!", "", "a b c d e", "a b c d f"]
    given([document(text, "alpha", f"url{number}") for number, text in enumerate(texts)])
    run(lenient)
    assert sorted(row["text"] for row in kept()) == sorted(
        ["One, two!", "one two three", "!!!", "???", "", "a b c d e", "a b c d f"]
    )
    assert sorted(row["text"] for row in removed()) == ["!!!", "one two"]


def test_a_document_listed_twice_is_kept_once(workspace: Path, lenient: Settings) -> None:
    row = document("to be or not to be that is the question")
    given([row, row])
    run(lenient)
    assert [found["id"] for found in kept()] == [found["duplicate_of"] for found in removed()] == [row["id"]]


def test_a_swarm_of_near_copies_leaves_one(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(2)
    words = essay(rng, 150)
    given([document(" ".join(edited(words, 1, rng)) + " x" * (number % 5)) for number in range(200)])
    metrics = run(lenient)
    assert len(kept()) == 1
    assert metrics["clusters"] == {"size_10_or_more": 1}
    assert metrics["largest_cluster"] == 200


def test_a_source_that_vanishes_raises_the_alarm(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    source = {"format": "gutenberg", "urls": ["x"], "license": "CC0", "language": "en"}
    strict = settings_with(**{"sources": dict.fromkeys(SOURCES, source), "dedup.max_removed_fraction": 0.6})
    rng = random.Random(3)
    words = " ".join(essay(rng))
    given([document(f"{words}.", "alpha", f"u{number}") for number in range(3)] + [document(words[:-9], "beta")])
    with pytest.raises(
        DataError, match=r"2 of 3 documents of source alpha .*0\.667 > dedup\.max_removed_fraction = 0\.6"
    ):
        run(strict)
    assert not paths.DEDUPED.exists()


def test_no_documents_at_all(workspace: Path, lenient: Settings) -> None:
    given([])
    assert run(lenient)["all"]["documents_in"] == 0
    assert kept() == removed() == []


def test_sources_follow_each_other_by_name_in_their_own_order(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(4)
    rows = [document(" ".join(essay(rng)), rng.choice(SOURCES)) for _ in range(40)]
    given(rows)
    run(lenient)
    expected = [row for source in SOURCES for row in rows if row["source"] == source]
    assert kept() == expected


def test_two_runs_give_the_same_bytes_and_other_cuts_the_same_rows(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(6)
    rows = [document(" ".join(essay(rng)), "alpha") for _ in range(40)]
    rows += [document(row["text"] + " etc", "beta") for row in rows[::2]]
    given(rows)
    run(lenient)
    first, documents, gone = _hashes(paths.DEDUPED), kept(), removed()
    run(lenient)
    assert _hashes(paths.DEDUPED) == first
    assert sorted(first) == [f"{kind}-{part:05d}.parquet" for kind in ("documents", "removed") for part in range(6)]
    for path in paths.curated("alpha").iterdir():
        path.unlink()
    write_table(paths.curated("alpha") / "documents-00000.parquet", pa.Table.from_pylist(rows[:40], schema=DOCUMENT))
    run(lenient)
    assert (kept(), removed()) == (documents, gone)


def test_a_stage_that_is_killed_continues_and_gives_the_same_bytes(
    workspace: Path, lenient: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(9)
    rows = [document(" ".join(essay(rng)), "alpha") for _ in range(30)]
    rows += [document(row["text"] + " etc", "beta") for row in rows[::2]]
    given(rows)
    indexed = lenient.model_copy(update={"dedup": lenient.dedup.model_copy(update={"index": True})})
    run(indexed)
    before, metrics = _hashes(paths.DEDUPED), None
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
    assert _hashes(paths.DEDUPED) == before
    assert metrics["all"]["removed_fuzzy"] == 15


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
