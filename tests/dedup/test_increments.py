"""Increments: later documents are compared with the indexes of earlier runs."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import DataError, UserError
from gptoss.dedup.corpus import Corpus
from gptoss.dedup.increments import known_parts
from gptoss.dedup.shingle_sets import ShingleSets
from tests.dedup.stage_runs import (
    Row,
    document,
    edited,
    essay,
    kept_documents,
    lenient,
    removed_documents,
    run_stage,
    write_curated,
)

__all__ = ["lenient"]


def indexed(settings: Settings, *known: str, **changes: object) -> Settings:
    """The settings with `dedup.index` and with `dedup.known`."""
    return settings.model_copy(
        update={"dedup": settings.dedup.model_copy(update={"index": True, "known": known, **changes})}
    )


def crawl(rng: random.Random, originals: list[list[str]], source: str) -> list[Row]:
    """Documents with near and exact copies of each other."""
    rows = [document(" ".join(words), source) for words in originals]
    rows += [document(" ".join(edited(words, rng.choice([1, 2, 30]), rng)), source) for words in originals]
    rows += [document(" ".join(words).title(), source, f"twice/{rng.random()}") for words in originals[::4]]
    rng.shuffle(rows)
    return rows


def keep(folder: str) -> str:
    """Move the index of the last run out of its output."""
    shutil.move(paths.DEDUPED / "index", folder)
    return folder


def test_an_increment_removes_duplicates_of_known_documents(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(8)
    originals = [essay(rng, 150) for _ in range(24)]
    # Some documents of the second crawl are longer versions of known ones, which stay nevertheless.
    longer = [[*words, "and", "some", "more"] for words in originals[8:16]]
    first, second = crawl(rng, originals[:16], "alpha"), crawl(rng, longer + originals[16:], "beta")
    second.append(first[0])
    write_curated(first)
    run_stage(indexed(lenient))
    known = {row["id"]: row for row in kept_documents()}
    a = keep("first-index")
    write_curated(second)
    metrics = run_stage(indexed(lenient, a))
    new, removed = {row["id"]: row for row in kept_documents()}, removed_documents()
    assert len(new) + len(removed) == len(second)
    assert not set(known) & set(new)
    assert {row["duplicate_of"] for row in removed} <= set(known) | set(new)
    matched = [row for row in removed if row["duplicate_of"] in known]
    assert metrics["all"]["removed_known"] == len(matched) >= 9
    assert any(len(row["text"]) > len(known[row["duplicate_of"]]["text"]) for row in matched)
    # The kept documents of both runs contain no more duplicates, and a third run knows both indexes.
    b = keep("second-index")
    write_curated([row | {"source": "alpha"} for row in [*known.values(), *new.values()]])
    assert run_stage(indexed(lenient))["all"]["documents_kept"] == len(known) + len(new)
    write_curated(first + second)
    assert run_stage(indexed(lenient, a, b))["all"]["documents_kept"] == 0
    assert {row["duplicate_of"] for row in removed_documents()} <= set(known) | set(new)


def test_two_crawls_keep_as_many_documents_at_once_as_one_after_the_other(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(3)
    texts = [essay(rng, 120) for _ in range(12)]
    first = [document(" ".join(words)) for words in texts]
    second = [document(" ".join(words) + " etc", "beta") for words in texts[:6]] + [document("of its own", "beta")]
    write_curated(first + second)
    at_once = run_stage(lenient)["all"]["documents_kept"]
    write_curated(first)
    kept_first = run_stage(indexed(lenient))["all"]["documents_kept"]
    a = keep("a")
    write_curated(second)
    assert kept_first + run_stage(indexed(lenient, a))["all"]["documents_kept"] == at_once == 13
    assert [row["text"] for row in kept_documents()] == ["of its own"]


def test_the_index_describes_the_kept_documents(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(1)
    rows = [document(" ".join(essay(rng, 40))) for _ in range(20)]
    write_curated([*rows, rows[3], document("!?"), document("")])
    run_stage(indexed(lenient))
    index = json.loads((paths.DEDUPED / "index" / "index.json").read_text())
    assert sum(part["documents"] for part in index["parts"].values()) == 22
    ids = [
        name
        for part in sorted(index["parts"])
        for name in pq.read_table(paths.DEDUPED / "index" / f"signatures-{part}.parquet").column("id").to_pylist()
    ]
    assert ids == [row["id"] for row in kept_documents()]
    config = indexed(lenient, str(paths.DEDUPED / "index")).dedup
    with ShingleSets(Corpus(tuple(known_parts(config, lenient.seed, 0)))) as sets:
        assert sets.locate(np.arange(22))[1].tolist() == [36] * 20 + [0, 0]


def test_an_index_that_is_missing_damaged_or_of_other_settings_is_an_error(workspace: Path, lenient: Settings) -> None:
    write_curated([document("a few words")])
    run_stage(indexed(lenient))
    a = keep("elsewhere")
    with pytest.raises(UserError, match=r"elsewhere was made with ngram 5 \(now 4\)"):
        run_stage(indexed(lenient, a, ngram=4))
    with pytest.raises(UserError, match=r"nowhere holds no index.json"):
        run_stage(indexed(lenient, a, "nowhere"))
    (Path(a) / "sets-00000.u64").write_bytes(b"half")
    with pytest.raises(DataError, match=r"sets-00000.u64 has 4 bytes, its index.json says"):
        run_stage(indexed(lenient, a))
