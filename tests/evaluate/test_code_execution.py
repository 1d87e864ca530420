"""Generated programs are scored in the sandbox, or not run at all."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.eval_items.suites import load_suite
from gptoss.evaluate import code_execution, sandbox
from gptoss.tracking.mlflow_run import StageRun
from stages.evaluate import evaluate

REASON = sandbox.unavailable()
needs_sandbox = pytest.mark.skipif(REASON is not None, reason=f"no sandbox on this machine: {REASON}")


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.unavailable.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda *_: None)
    try:
        assert "unshare" in str(sandbox.unavailable())
        with pytest.raises(sandbox.SandboxUnavailable):
            sandbox.run_python("pass")
        assert "no sandbox" in str(code_execution.reason_not_to_run(True))
    finally:
        monkeypatch.undo()
        sandbox.unavailable.cache_clear()
    assert "execute_code is false" in str(code_execution.reason_not_to_run(False))


@needs_sandbox
def test_humaneval_items_pass_with_their_solutions_alone(evaluated: Settings) -> None:
    index = read_json(paths.BENCHMARKS / "index.json")
    entries = [item for item in index["items"] if (item["suite"], item["task"]) == ("smoke", "humaneval")]
    items = pq.read_table(paths.BENCHMARKS / entries[0]["path"]).to_pylist()

    def run(answers: list[str]) -> list[dict[str, Any]]:
        samples = [{"item": str(n), "answer": answer} for n, answer in enumerate(answers)]
        return code_execution.execute("humaneval", samples, entries, paths.BENCHMARKS)

    right = run([item["canonical_solution"] for item in items])
    assert [sample["outcome"] for sample in right] == ["passed"] * 24
    wrong = run(["    pass\n", "    return object()\n", "    raise SystemExit\n", "    def\n"])
    assert [sample["scores"] for sample in wrong] == [{"pass_at_1": 0.0}] * 4
    assert [sample["outcome"] for sample in wrong] == ["AssertionError", "AssertionError", "ended early", "SyntaxError"]


@needs_sandbox
def test_the_stage_executes_only_when_allowed(evaluated: Settings) -> None:
    changes = {"suites": ("smoke",), "execute_code": True}
    settings = evaluated.model_copy(update={"evaluate": evaluated.evaluate.model_copy(update=changes)})
    evaluate(settings, StageRun("evaluate@base"), "base")
    scores = read_json(paths.evaluation("base") / "scores.json")
    assert scores["not_run"] == []
    (row,) = [row for row in scores["rows"] if row["task"] == "humaneval"]
    assert row["n"] == 24 and row["shots"] == load_suite("smoke").tasks["humaneval"].shots == 0
    assert sys.platform == "linux"
