"""Score generated programs by running them: pass@1 of a greedy completion (Chen et al. 2021, section 2.1).

Generation and execution are apart: the completions are kept first, then each runs alone in the sandbox.
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
from gptoss.evaluate import sandbox
from gptoss.evaluate.tasks import hook

EXECUTED = frozenset({"humaneval"})
"""Formats whose answers are programs."""


def reason_not_to_run(execute_code: bool) -> str | None:
    """Why programs are not run, or None."""
    if not execute_code:
        return "evaluate.execute_code is false: programs that the model writes are not run"
    if reason := sandbox.unavailable():
        return f"there is no sandbox to run the model's programs in: {reason}"
    return None


def execute(
    name: str,
    metric: str,
    samples: Sequence[Mapping[str, Any]],
    entries: Sequence[Mapping[str, Any]],
    folder: Path,
) -> list[dict[str, Any]]:
    """The samples with `scores[metric]` and how each program ended."""
    items = {
        item_id(entry["subset"], position): item
        for entry in entries
        if entry["role"] == "evaluated"
        for position, item in enumerate(pq.read_table(folder / entry["path"]).to_pylist())
    }
    program = hook(name, "program")
    sources = [program(items[sample["item"]], sample["answer"]) for sample in samples]
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, sandbox.AT_ONCE)) as pool:
        outcomes = list(progress(pool.map(sandbox.run_python, sources), "programs", total=len(sources), unit="program"))
    return [
        {**sample, "scores": {metric: float(outcome.passed)}, "outcome": ending(outcome)}
        for sample, outcome in zip(samples, outcomes, strict=True)
    ]


def ending(outcome: sandbox.Outcome) -> str:
    """How a program ended, without what differs between two runs of it (addresses in messages, printed text)."""
    if outcome.passed or outcome.detail == sandbox.TIMED_OUT:
        return outcome.detail
    error = re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Iteration|Warning)\b", outcome.detail)
    return error.group() if error else "ended early"
