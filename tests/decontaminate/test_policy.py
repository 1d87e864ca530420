"""The policies: mark, trim and drop."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.decontaminate import policy, trim
from tests.decontaminate.stage_runs import (
    ITEMS,
    LONG,
    SHORT,
    filler,
    found_items,
    kept_documents,
    removed_documents,
    run_stage,
    write_inputs,
)


def test_mark_keeps_the_text_and_names_the_items(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    rng = random.Random(6)
    texts = [filler(rng), f"{filler(rng)} {SHORT} {LONG}", filler(rng)]
    for meta in ('{"page": 4}', None):
        write_inputs(texts, meta=meta)
        metrics = run_stage(settings_with(**{"decontaminate.policy": "mark"}))
        assert [row["text"] for row in kept_documents()] == texts
        assert json.loads(kept_documents()[1]["meta"])["contaminated"] == ["smoke/gsm8k/0", "smoke/mmlu/7"]
        assert kept_documents()[0]["meta"] == meta
        assert metrics["documents_marked"] == 1
        assert removed_documents() == []
    assert len(found_items()) == 2


def test_trim_removes_the_sentences_with_a_match(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    rng = random.Random(7)
    before, middle, after = (filler(rng) for _ in range(3))
    text = f"{before} He said: {LONG} {middle}\n\nÜber alles. Indeed — {SHORT} And {after}"
    write_inputs([text, LONG, filler(rng)])
    metrics = run_stage(settings_with(**{"decontaminate.policy": "trim"}))
    trimmed = kept_documents()[0]
    assert trimmed["text"] == f"{before}\n\n{middle}\n\nÜber alles.\n\nAnd {after}"
    assert json.loads(trimmed["meta"]) == {
        "contaminated": ["smoke/gsm8k/0", "smoke/mmlu/7"],
        "trimmed_characters": len(text) - len(trimmed["text"]),
    }
    assert [row["text"] for row in removed_documents()] == [LONG]  # nothing worth keeping is left of it
    assert metrics["documents_trimmed"] == 1
    assert metrics["documents_removed"] == 1


def test_trimmed_text_is_clean_and_loses_little(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(**{"decontaminate.policy": "trim"})
    rng = random.Random(8)
    endless = " ".join(f"w{rng.randrange(9_999)}" for _ in range(400))  # no sentence anywhere
    nested = f"{endless}. Who wrote the play. {SHORT} In which Ophelia drowns {endless}"  # its pieces make a new match
    write_inputs([f"{endless} {SHORT[:-1]} {endless}", nested])
    run_stage(settings)
    texts = [row["text"] for row in kept_documents()]
    assert len(texts) == 2
    for text in texts:
        assert 2 * len(endless) - 2 * trim.SENTENCE_REACH <= len(text) <= 2 * len(endless) + 3
        assert set(text.replace(".", "").split()) <= set(endless.split())  # cut between words
    write_inputs(texts)
    assert run_stage(settings)["items_touched"] == 0


def test_a_document_in_too_many_pieces_is_removed(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    rng = random.Random(9)
    write_inputs([f" {SHORT} ".join(filler(rng) for _ in range(policy.MAX_PIECES + 1))])
    run_stage(settings_with(**{"decontaminate.policy": "trim"}))
    assert len(removed_documents()) == 1


@pytest.mark.parametrize("chosen", ["drop", "trim", "mark"])
def test_empty_inputs(workspace: Path, settings_with: Callable[..., Settings], chosen: str) -> None:
    settings = settings_with(**{"decontaminate.policy": chosen})
    write_inputs([], ITEMS)
    assert run_stage(settings)["documents_in"] == 0
    write_inputs(["", "?!", "x"], [])
    assert run_stage(settings)["documents_kept"] == 3
    write_inputs(["", "?!", "x"], [("smoke", "empty", "0", ""), *ITEMS])
    assert run_stage(settings)["items_not_checked"] == 2
