"""Items are the same from every source, and what a source lacks is listed with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import DataError, UserError
from gptoss.eval_items.freeze import FEWSHOT_POOL
from tests.conftest import ROOT
from tests.eval_items.checkout import entry, freeze, link_evals, small_mirror


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


def test_a_folder_that_is_not_a_mirror_is_a_user_error(checkout: Path, settings_with: Callable[..., Settings]) -> None:
    for folder in (checkout / "absent", checkout):
        with pytest.raises(UserError, match=r"benchmarks\.mirror"):
            freeze(settings_with, "mirror", folder)
    assert not paths.BENCHMARKS.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no items"),
        (b"{broken\n", "line 1 is not JSON"),
        (b'{"task_id": "x"}\n', "item 1 is not a humaneval item: KeyError 'prompt'"),
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
def test_an_unreachable_hub_is_a_cluster_error(checkout: Path) -> None:
    (checkout / "params.yaml").write_text(
        (ROOT / "params.yaml").read_text().replace("gpt4: packages", "gpt4: hub"), encoding="utf-8"
    )
    program = """
from stages.benchmarks import benchmarks
from gptoss.core.process import exit_code_of
from gptoss.config.settings import load_settings
from gptoss.tracking.mlflow_run import StageRun
raise SystemExit(exit_code_of(lambda: benchmarks(load_settings(), StageRun("benchmarks"))))
"""
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "EleutherAI/lambada_openai@" in done.stderr and "fix: connect this machine to the hub" in done.stderr
    assert not paths.BENCHMARKS.exists()
