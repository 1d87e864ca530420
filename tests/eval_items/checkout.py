"""The evaluation files of the checkout in a test's working directory, and items frozen from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.tracking.mlflow_run import StageRun
from stages.benchmarks import benchmarks
from tests.conftest import ROOT


def link_evals(folder: Path, *, pinned: bool = False) -> None:
    """Link what `evals/` holds. Without `pinned` any content is accepted, since the mirrors of most tests are made of
    the project's own items."""
    (folder / "evals").mkdir()
    for path in (ROOT / "evals").iterdir():
        if path.name != "pins.yaml" or pinned:
            (folder / "evals" / path.name).symlink_to(path)
    if not pinned:
        (folder / "evals" / "pins.yaml").write_text("splits: {}\n")


def freeze(settings_with: Callable[..., Settings], way: str, mirror: Path | str = "") -> dict[str, Any]:
    """Run the stage with one source of items. Returns `index.json`."""
    settings = settings_with(**{"benchmarks.gpt4": way, "benchmarks.mirror": str(mirror), "evaluate.suites": ["smoke"]})
    benchmarks(settings, StageRun("benchmarks"))
    index: dict[str, Any] = read_json(paths.BENCHMARKS / "index.json")
    return index


def entry(index: dict[str, Any], suite: str, task: str, role: str = "evaluated", subset: str = "default") -> Any:
    """The only file of these properties in an index."""
    (found,) = [
        item
        for item in index["items"]
        if (item["suite"], item["task"], item["role"], item["subset"]) == (suite, task, role, subset)
    ]
    return found


def small_mirror(folder: Path) -> Path:
    """The project's own items laid out like the hub, without MMLU, DROP and GSM8K."""
    own = ROOT / "evals" / "smoke"
    for name, location in {
        "hellaswag": "Rowan/hellaswag/data/validation-00000-of-00001",
        "hellaswag.fewshot": "Rowan/hellaswag/data/train-00000-of-00001",
        "arc_challenge": "allenai/ai2_arc/ARC-Challenge/test",
        "winogrande": "allenai/winogrande/winogrande_xl/validation",
        "humaneval": "openai/openai_humaneval/openai_humaneval/test",
    }.items():
        path = folder / f"{location}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((own / f"{name}.jsonl").read_bytes() * (2 if "fewshot" in name else 1))
    return folder
