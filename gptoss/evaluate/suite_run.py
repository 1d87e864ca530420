"""Run the tasks of a suite: a row and samples per task, or the reason why a task was not run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lm_eval.models.huggingface import HFLM

from gptoss.config.evaluate import EvaluateConfig
from gptoss.core import paths
from gptoss.eval_items.frozen_index import FrozenIndex
from gptoss.eval_items.suites import Suite, load_baselines
from gptoss.evaluate import code_execution, harness, result_rows
from gptoss.evaluate.step_cache import StepCache
from gptoss.evaluate.tasks import read_subsets, scored_content


@dataclass
class SuiteResult:
    """What running a suite gives."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self) -> dict[str, Any]:
        """`{TASK: {METRIC: value}}`, and the subsets of a task that has several under `TASK_subsets`."""
        values: dict[str, Any] = {}
        for row in self.rows:
            task, metric = row["task"], row["metric"]
            values[task] = {metric: row["value"]}
            if row["subsets"]:
                values[f"{task}_subsets"] = {name: {metric: one["value"]} for name, one in row["subsets"].items()}
        return values


def run_suite(lm: HFLM, suite: Suite, index: FrozenIndex, config: EvaluateConfig, cache: StepCache) -> SuiteResult:
    """Run every task of a suite that can be run."""
    # Read once per suite: both are small, and every task needs them.
    baselines = load_baselines(suite.baseline) if suite.baseline else None
    contaminated = result_rows.read_contaminated()
    result = SuiteResult(suite.name)
    for name, task in suite.tasks.items():
        reason = index.reason_missing(suite, name)
        if reason is None and code_execution.is_program(task):
            reason = code_execution.reason_not_to_run(config.execute_code)
        if reason is not None:
            result.not_run.append({"suite": suite.name, "task": name, "reason": reason})
            continue
        # The name of a task is unique in its suite only, hence both names in the key.
        measured = cache.once(f"{suite.name}-{name}", partial(_run_task, lm, suite, name, index, config))
        result.rows.append(result_rows.row(suite, name, task, measured, contaminated, baselines))
        result.samples += measured["samples"]
    return result


def _run_task(lm: HFLM, suite: Suite, name: str, index: FrozenIndex, config: EvaluateConfig) -> dict[str, Any]:
    """Measure one task, and the content hash of its items; generated programs are then executed."""
    task, files, limit = suite.tasks[name], index.files(suite, name), suite.limit(name, config.limit)
    measured = harness.run_task(
        lm, suite.name, name, task, files, paths.BENCHMARKS, limit=limit, max_new_tokens=config.max_new_tokens
    )
    # Promotion compares two scores only if the items had the same content, whatever files they came from.
    subsets, _ = read_subsets(paths.BENCHMARKS, files, limit)
    measured["content_sha256"] = scored_content(subsets, task.shots)
    # lm-eval's own HumanEval task would run the programs in this process.
    if code_execution.is_program(task):
        measured["samples"] = code_execution.execute(name, measured["samples"], files, paths.BENCHMARKS)
    return measured
