"""Increments: later documents against the index of what earlier runs kept."""

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
from gptoss.dedup.shingle_sets import ShingleSets
from tests.dedup.test_dedup import Row, document, edited, essay, given, kept, lenient, removed, run

__all__ = ["lenient"]


def indexed(settings: Settings, *known: str, **changes: object) -> Settings:
    """The settings with an index to write and indexes to know."""
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
    """Move the index of the last run to where the next one knows it."""
    shutil.move(paths.DEDUPED / "index", folder)
    return folder


def test_an_increment_keeps_what_is_known_and_finds_its_duplicates(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(8)
    originals = [essay(rng, 150) for _ in range(24)]
    # Some of the second crawl are longer versions of what is known: known ones are kept all the same.
    longer = [[*words, "and", "some", "more"] for words in originals[8:16]]
    first, second = crawl(rng, originals[:16], "alpha"), crawl(rng, longer + originals[16:], "beta")
    second.append(first[0])
    given(first)
    run(indexed(lenient))
    known = {row["id"]: row for row in kept()}
    a = keep("first-index")
    given(second)
    metrics = run(indexed(lenient, a))
    new, gone = {row["id"]: row for row in kept()}, removed()
    assert len(new) + len(gone) == len(second)
    assert not set(known) & set(new)
    assert {row["duplicate_of"] for row in gone} <= set(known) | set(new)
    matched = [row for row in gone if row["duplicate_of"] in known]
    assert metrics["all"]["removed_known"] == len(matched) >= 9
    assert any(len(row["text"]) > len(known[row["duplicate_of"]]["text"]) for row in matched)
    # Nothing is left to find in all that was kept, and a third crawl knows both.
    b = keep("second-index")
    given([row | {"source": "alpha"} for row in [*known.values(), *new.values()]])
    assert run(indexed(lenient))["all"]["documents_kept"] == len(known) + len(new)
    given(first + second)
    assert run(indexed(lenient, a, b))["all"]["documents_kept"] == 0
    assert {row["duplicate_of"] for row in removed()} <= set(known) | set(new)


def test_two_crawls_at_once_or_one_after_the_other_keep_as_many(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(3)
    texts = [essay(rng, 120) for _ in range(12)]
    first = [document(" ".join(words)) for words in texts]
    second = [document(" ".join(words) + " etc", "beta") for words in texts[:6]] + [document("of its own", "beta")]
    given(first + second)
    at_once = run(lenient)["all"]["documents_kept"]
    given(first)
    kept_first = run(indexed(lenient))["all"]["documents_kept"]
    a = keep("a")
    given(second)
    assert kept_first + run(indexed(lenient, a))["all"]["documents_kept"] == at_once == 13
    assert [row["text"] for row in kept()] == ["of its own"]


def test_the_index_describes_the_kept_documents(workspace: Path, lenient: Settings) -> None:
    rng = random.Random(1)
    rows = [document(" ".join(essay(rng, 40))) for _ in range(20)]
    given([*rows, rows[3], document("!?"), document("")])
    run(indexed(lenient))
    said = json.loads((paths.DEDUPED / "index" / "index.json").read_text())
    assert sum(part["documents"] for part in said["parts"].values()) == 22
    ids = [
        name
        for part in sorted(said["parts"])
        for name in pq.read_table(paths.DEDUPED / "index" / f"signatures-{part}.parquet").column("id").to_pylist()
    ]
    assert ids == [row["id"] for row in kept()]
    from gptoss.dedup.corpus import Corpus
    from gptoss.dedup.increments import known_parts

    shape = indexed(lenient, str(paths.DEDUPED / "index")).dedup
    with ShingleSets(Corpus(tuple(known_parts(shape, lenient.seed, 0)))) as sets:
        assert sets.spans(np.arange(22))[1].tolist() == [36] * 20 + [0, 0]


def test_an_index_of_other_settings_or_none_is_refused(workspace: Path, lenient: Settings) -> None:
    given([document("a few words")])
    run(indexed(lenient))
    a = keep("elsewhere")
    with pytest.raises(UserError, match=r"elsewhere was made with ngram 5 \(now 4\)"):
        run(indexed(lenient, a, ngram=4))
    with pytest.raises(UserError, match=r"nowhere holds no index.json"):
        run(indexed(lenient, a, "nowhere"))
    (Path(a) / "sets-00000.u64").write_bytes(b"half")
    with pytest.raises(DataError, match=r"sets-00000.u64 has 4 bytes, its index.json says"):
        run(indexed(lenient, a))
