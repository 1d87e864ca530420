"""Pins: every foreign split has one, and it holds the content and the number of rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import DataError
from gptoss.eval_items import pins
from gptoss.eval_items.items import content_sha256
from gptoss.eval_items.suites import load_suite
from tests.eval_items.checkout import link_evals


def test_every_foreign_split_is_pinned(workspace: Path) -> None:
    link_evals(workspace, pinned=True)
    known = pins.load().splits
    expected = {
        f"{suite.name}/{name}/{subset}/{task.evaluated}"
        for suite in map(load_suite, ("language", "gpt4"))
        for name, task in suite.tasks.items()
        if not task.files and not task.items_of
        for subset in task.subsets
    }
    assert known.keys() == expected and len(expected) == 57 + 6 + 1


def test_a_pin_holds_content_and_number() -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    content = content_sha256(rows)
    pinned = pins.Pins(splits={"s": (pins.Pin(rows=2, sha256=content), pins.Pin(rows=3, sha256=None))})
    assert pins.verify(pinned, "s", rows) == content
    assert pins.verify(pinned, "s", [*rows, {"text": "c"}]) != content
    assert pins.verify(pinned, "other", rows[:1])
    for changed in ([rows[1], rows[0]], rows[:1]):
        with pytest.raises(DataError, match="restore the unchanged data set"):
            pins.verify(pinned, "s", changed)
