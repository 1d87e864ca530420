"""Measure what is published: held-out bits per byte, benchmark suites, and examples of what the model writes.

In: the published folder `gpt-oss/NAME[-instruct]`, the frozen items `data/benchmarks`, the token shards
`data/shards`, `evals/` (suites, tasks, cited figures) and, where decontamination has run, its list of benchmark items
that were found in the text.
Out: `data/evaluations/HEAD`: `scores.json` (bits per byte with n-gram baselines, one row a task with standard error,
protocol and cited figure, and every task that was not run with the reason), `samples.jsonl` (every evaluated item),
`generations.json`.
Wrong: no published model or items is `UserError`; items or shards that differ from their checksums are `DataError`.
From: lm-evaluation-harness (Gao et al. 2021) for the suites; see the modules for the rest. A killed evaluation
continues after its last finished part.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder, read_json, write_json, write_text
from gptoss.core.errors import UserError
from gptoss.eval_items.suites import Suite, load_baselines, load_suite
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

CONTAMINATION = paths.CLEAN / "contamination.json"


class Parts:
    """Finished parts of an evaluation, kept until the stage is done, and the seconds each took."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.seconds: dict[str, float] = {}

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The part as it was made by an earlier attempt, or made now."""
        path = self.state / f"{name}.json"
        if not path.is_file():
            start = time.monotonic()
            write_json(path, make())
            self.seconds[name] = time.monotonic() - start
            print(f"{name}: {self.seconds[name]:.1f} s", flush=True)
        return read_json(path)


def evaluate(settings: Settings, run: StageRun, head: str) -> Metrics:
    """Evaluate one head of the published model."""
    from gptoss.evaluate import generations, harness, safety
    from gptoss.evaluate.published_model import load
    from gptoss.evaluate.tasks import SEED

    config, parts = settings.evaluate, Parts(run.state)
    start = time.monotonic()
    index = frozen_index()
    model = load(paths.published(settings.name, head))
    asked = generations.encode_all(model, head, config.prompts, config.questions, config.max_new_tokens)
    lm = harness.language_model(model, config.batch_size)
    parts.seconds["loading"] = time.monotonic() - start

    bits = parts.once("bits_per_byte", lambda: held_out(model, config.ngram_baseline_bytes))
    suites = [run_suite(settings, parts, lm, load_suite(name), index) for name in config.suites]
    written = parts.once(
        "generations",
        lambda: generations.generate(model, config.prompts, config.questions, asked, config.max_new_tokens),
    )
    scores = {
        "head": head,
        "conditions": {
            "batch_size": config.batch_size,
            "fewshot_seed": SEED,
            "arithmetic": model.arithmetic,
            "bos": {name: load_suite(name).bos for name in config.suites},
        },
        "bits_per_byte": bits,
        "rows": [row for rows, _, _, _ in suites for row in rows],
        "not_run": [absent for _, not_run, _, _ in suites for absent in not_run],
    }
    if head == "instruct":
        scores["safety"] = parts.once("safety", lambda: safety.measure(model))
    samples = [sample for _, _, kept, _ in suites for sample in kept]
    write(paths.evaluation(head), scores, samples, written)
    for name in ("scores.json", "samples.jsonl", "generations.json"):
        run.artifact(paths.evaluation(head) / name, "evaluation")
    run.table("evaluation/samples.table.json", table(samples))
    run.metrics({f"seconds.{name}": seconds for name, seconds in parts.seconds.items()})
    return summary(bits, suites)


def frozen_index() -> dict[str, Any]:
    """`data/benchmarks/index.json`. Raises `UserError` when the items were never frozen."""
    path = paths.BENCHMARKS / "index.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist", "run `dvc repro benchmarks`")
    index: dict[str, Any] = read_json(path)
    return index


def held_out(model: Any, train_bytes: int) -> dict[str, Any]:
    """Bits per byte of the model and of the n-gram baselines on the validation split, and the hash of its shards."""
    from gptoss.evaluate import bits_per_byte
    from gptoss.tables.token_files import TokenSplit, read_index

    train, validation = TokenSplit.open(paths.SHARDS, "train"), TokenSplit.open(paths.SHARDS, "validation")
    shards = [shard["sha256"] for shard in read_index(paths.SHARDS)["splits"]["validation"]["shards"]]
    identity = hashlib.sha256("\n".join(shards).encode()).hexdigest()
    return bits_per_byte.held_out(model, train, validation, train_bytes) | {"shards_sha256": identity}


Result = tuple[list[dict[str, Any]], list[dict[str, str]], list[dict[str, Any]], dict[str, Any]]
"""Rows, what was not run, samples, and the metrics of a suite."""


def run_suite(settings: Settings, parts: Parts, lm: Any, suite: Suite, index: Mapping[str, Any]) -> Result:
    """Every task of a suite ends as a row or, with its reason, among those not run."""
    from gptoss.evaluate import result_rows

    baselines = load_baselines(suite.baseline) if suite.baseline else None
    found = result_rows.contaminated(CONTAMINATION)
    result: Result = ([], [], [], {})
    for name, task in suite.tasks.items():
        if reason := not_run(settings, suite.name, suite.source(name), index):
            result[1].append({"suite": suite.name, "task": name, "reason": reason})
            continue
        measured = parts.once(f"{suite.name}-{name}", partial(run_task, settings, lm, suite, name, index))
        row = result_rows.row(suite, name, task, measured, found, baselines)
        result[0].append(row)
        result[2].extend(measured["samples"])
        result[3][name] = {task.metric: row["value"]}
        if row["subsets"]:
            result[3][f"{name}_subsets"] = {key: {task.metric: one["value"]} for key, one in row["subsets"].items()}
    return result


def not_run(settings: Settings, suite: str, name: str, index: Mapping[str, Any]) -> str | None:
    """Why a task cannot be run: its items are missing, or its answers are programs and may not be executed."""
    from gptoss.evaluate import code_execution

    for absent in index["missing"]:
        if (absent["suite"], absent["task"]) == (suite, name):
            return str(absent["reason"])
    if name in code_execution.EXECUTED:
        return code_execution.reason_not_to_run(settings.evaluate.execute_code)
    return None


def run_task(settings: Settings, lm: Any, suite: Suite, name: str, index: Mapping[str, Any]) -> dict[str, Any]:
    """Measure one task, and say of which items; programs among the answers are then executed."""
    from gptoss.evaluate import code_execution, harness
    from gptoss.evaluate.tasks import read_subsets, scored_content

    task = suite.tasks[name]
    limit = settings.evaluate.limit if suite.limited and not task.files else None
    entries = [item for item in index["items"] if (item["suite"], item["task"]) == (suite.name, suite.source(name))]
    measured = harness.run_task(
        lm,
        suite.name,
        name,
        task,
        entries,
        paths.BENCHMARKS,
        limit=limit,
        max_new_tokens=settings.evaluate.max_new_tokens,
    )
    subsets, _ = read_subsets(paths.BENCHMARKS, entries, limit)
    measured["content_sha256"] = scored_content(subsets, task.shots)
    if name in code_execution.EXECUTED:
        measured["samples"] = code_execution.execute(name, task.metric, measured["samples"], entries, paths.BENCHMARKS)
    return measured


def write(folder: Path, scores: Any, samples: list[dict[str, Any]], written: Any) -> None:
    """Write the three files of an evaluation."""
    from gptoss.evaluate.tasks import canonical

    with atomic_folder(folder) as new:
        write_json(new / "scores.json", scores)
        write_text(new / "samples.jsonl", "".join(f"{canonical(sample)}\n" for sample in samples))
        write_json(new / "generations.json", written)


def table(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The samples as columns, to be browsed in MLflow; the scores of different metrics share one column."""
    keys = ("suite", "task", "item", "prompt", "target", "answer", "generated", "outcome", "confidence", "truncated")
    columns: dict[str, list[Any]] = {key: [sample.get(key) for sample in samples] for key in keys}
    return columns | {
        "scores": [", ".join(f"{name} {value:g}" for name, value in sample["scores"].items()) for sample in samples]
    }


def summary(bits: Mapping[str, Any], suites: list[Result]) -> Metrics:
    """Flat numbers for `dvc metrics show`, such as `smoke.hellaswag.acc_norm`."""
    metrics: dict[str, Any] = {"bits_per_byte": {"model": bits["model"], **bits["baselines"]}}
    for rows, _, _, values in suites:
        if rows:
            metrics[rows[0]["suite"]] = values
    return metrics


if __name__ == "__main__":
    run_stage(evaluate, "evaluate", keys=lambda _: paths.HEADS)
