"""Score generated programs by running them: pass@1 of a greedy completion (Chen et al. 2021, section 2.1).

A task whose metric is `pass_at_1` is scored here; its module `evals/tasks/NAME.py` has a function `program` that joins
item and completion. Generation and execution are separate: first all completions are generated, then each runs alone in
the sandbox.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gptoss.core.progress import progress
from gptoss.eval_items.items import item_id
from gptoss.eval_items.suites import Task
from gptoss.evaluate import sandbox
from gptoss.evaluate.tasks import load_hook

METRIC = "pass_at_1"


def is_program(task: Task) -> bool:
    """True if the answers of a task are programs that have to be run."""
    return task.metric == METRIC


def reason_not_to_run(execute_code: bool) -> str | None:
    """Why programs are not run, or None."""
    if not execute_code:
        return "evaluate.execute_code is false: programs that the model writes are not run"
    if reason := sandbox.unavailable():
        return f"there is no sandbox to run the model's programs in: {reason}"
    return None


def execute(
    name: str, samples: Sequence[Mapping[str, Any]], files: Sequence[Mapping[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """The samples of a task with `scores[METRIC]` and how each program ended. `files` are the task's entries in the
    index of frozen items, with paths relative to `folder`."""
    items = {
        item_id(entry["subset"], position): item
        for entry in files
        if entry["role"] == "evaluated"
        for position, item in enumerate(pq.read_table(folder / entry["path"]).to_pylist())
    }
    program = load_hook(name, "program")
    sources = [program(items[sample["item"]], sample["answer"]) for sample in samples]
    # Threads are enough: each waits for a process of its own.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, sandbox.MAX_CONCURRENT)) as pool:
        outcomes = list(progress(pool.map(sandbox.run_python, sources), "programs", total=len(sources), unit="program"))
    return [
        {**sample, "scores": {METRIC: float(outcome.passed)}, "outcome": outcome_label(outcome)}
        for sample, outcome in zip(samples, outcomes, strict=True)
    ]


def outcome_label(outcome: sandbox.Outcome) -> str:
    """How a program ended, the same in every run of it."""
    if outcome.passed or outcome.detail == sandbox.TIMED_OUT:
        return outcome.detail
    # Only the class of an error: messages contain addresses, and printed text may be random.
    error = re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Iteration|Warning)\b", outcome.detail)
    return error.group() if error else sandbox.ENDED_EARLY
