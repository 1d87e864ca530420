"""Frozen items: complete, deterministic, and with the pinned content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import sha256_file
from gptoss.core.errors import DataError
from gptoss.eval_items.formats import FORMATS
from gptoss.eval_items.items import item_id
from gptoss.eval_items.suites import load_suite
from tests.eval_items.checkout import entry, freeze, link_evals, small_mirror


def test_smoke_items_are_frozen_whole(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    index = freeze(settings_with, "none")
    for task in load_suite("smoke").tasks:
        frozen = entry(index, "smoke", task)
        table = pq.read_table(paths.BENCHMARKS / frozen["path"])
        assert table.num_rows == frozen["rows"] == 24
        assert table.schema.equals(FORMATS[task].schema)
        assert sha256_file(paths.BENCHMARKS / frozen["path"]) == frozen["sha256"]
    pairs = entry(index, "language", "minimal_pairs")
    assert pairs["rows"] == 240 and "language" not in {item["suite"] for item in index["items"]} - {pairs["suite"]}
    gpt4 = {name for name, task in load_suite("gpt4").tasks.items() if not task.items_of}
    assert {absent["task"] for absent in index["missing"]} == gpt4 | {"lambada"}
    assert {absent["reason"] for absent in index["missing"]} == {"benchmarks.gpt4 is none"}


def test_texts_hold_every_evaluated_item_and_no_example(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    index = freeze(settings_with, "none")
    texts = pq.read_table(paths.BENCHMARKS / "texts.parquet").to_pylist()
    expected = [
        (item["suite"], item["task"], item_id(item["subset"], position))
        for item in index["items"]
        if item["role"] == "evaluated"
        for position in range(item["rows"])
    ]
    assert [(row["suite"], row["task"], row["item"]) for row in texts] == expected
    assert all(row["text"].strip() for row in texts)
    by_id = {(row["task"], row["item"]): row["text"] for row in texts}
    for task in load_suite("smoke").tasks:
        item_format = FORMATS[task]
        first = pq.read_table(paths.BENCHMARKS / entry(index, "smoke", task)["path"]).to_pylist()[0]
        assert by_id[task, "0"] == item_format.contamination_text(first)


def test_two_runs_give_the_same_bytes(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    freeze(settings_with, "none")
    first = {p: p.read_bytes() for p in paths.BENCHMARKS.rglob("*") if p.is_file()}
    freeze(settings_with, "none")
    assert first == {p: p.read_bytes() for p in paths.BENCHMARKS.rglob("*") if p.is_file()}


def test_other_content_than_the_pinned_one_stops_the_stage(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    link_evals(workspace, pinned=True)
    with pytest.raises(DataError, match=r"gpt4/hellaswag/default/validation has 24 items .* pins 10042 items"):
        freeze(settings_with, "mirror", small_mirror(workspace / "mirror"))
    assert not paths.BENCHMARKS.exists()
