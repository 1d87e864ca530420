"""The files of an evaluation, and what of them goes to MLflow and to DVC."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptoss.config.evaluate import EvaluateConfig
from gptoss.core.atomic_files import atomic_folder, write_json, write_text
from gptoss.eval_items.suites import load_suite
from gptoss.evaluate.suite_run import SuiteResult
from gptoss.evaluate.tasks import SEED, canonical_json
from gptoss.tracking.mlflow_run import StageRun

TABLE_COLUMNS = (
    "suite", "task", "item", "prompt", "target", "answer", "generated", "outcome", "confidence", "truncated",
)  # fmt: skip


def make_scores(
    variant: str, config: EvaluateConfig, arithmetic: str, bits: Any, suites: Sequence[SuiteResult], safety: Any | None
) -> dict[str, Any]:
    """The content of `scores.json`."""
    scores = {
        "head": variant,
        "conditions": {
            "batch_size": config.batch_size,
            "fewshot_seed": SEED,
            "arithmetic": arithmetic,
            # A baseline is comparable only if the same precedes its prompts.
            "bos": {name: load_suite(name).bos for name in config.suites},
        },
        "bits_per_byte": bits,
        "rows": [row for suite in suites for row in suite.rows],
        "not_run": [task for suite in suites for task in suite.not_run],
    }
    return scores if safety is None else scores | {"safety": safety}


def write(folder: Path, scores: Mapping[str, Any], suites: Sequence[SuiteResult], generations: Any) -> None:
    """Write the three files of an evaluation."""
    samples = itertools.chain.from_iterable(suite.samples for suite in suites)
    with atomic_folder(folder) as partial:
        write_json(partial / "scores.json", scores)
        write_text(partial / "samples.jsonl", "".join(f"{canonical_json(sample)}\n" for sample in samples))
        write_json(partial / "generations.json", generations)


def log(run: StageRun, folder: Path, suites: Sequence[SuiteResult], seconds: Mapping[str, float]) -> None:
    """Log the files, the samples as a table, and the duration of each step to MLflow."""
    for name in ("scores.json", "samples.jsonl", "generations.json"):
        run.log_artifact(folder / name, "evaluation")
    run.log_table(
        "evaluation/samples.table.json", samples_table([sample for suite in suites for sample in suite.samples])
    )
    run.log_metrics({f"seconds.{name}": duration for name, duration in seconds.items()})


def samples_table(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The samples as columns, to be browsed in MLflow."""
    columns: dict[str, list[Any]] = {column: [sample.get(column) for sample in samples] for column in TABLE_COLUMNS}
    # One text column for the scores of all metrics: a column per metric would be empty for most tasks.
    columns["scores"] = [
        ", ".join(f"{metric} {value:g}" for metric, value in sample["scores"].items()) for sample in samples
    ]
    return columns


def metrics(bits: Mapping[str, Any], suites: Sequence[SuiteResult]) -> dict[str, Any]:
    """Nested numbers for `dvc metrics show`, such as `smoke.hellaswag.acc_norm`."""
    # A suite without a row has no number to show.
    per_suite = {suite.name: suite.metrics() for suite in suites if suite.rows}
    return {"bits_per_byte": {"model": bits["model"], **bits["baselines"]}} | per_suite
