"""Rows of `scores.json`: one per task, with the published figure and how comparable the two are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.eval_items.suites import Baselines, Suite, Task
from gptoss.evaluate.statistics import answer_lengths, by_subset, calibration, mean_and_stderr
from gptoss.evaluate.tasks import template_sha256, version

BASELINE_MODEL = "GPT-4"
CONTAMINATION = paths.CLEAN / "contamination.json"

ContaminatedItems = frozenset[tuple[str, str, str]]
"""`(suite, task, item)`."""


def read_contaminated(path: Path = CONTAMINATION) -> ContaminatedItems | None:
    """The items that decontamination found in the collected text; None if it has not run."""
    if not path.is_file():
        return None
    return frozenset((item["suite"], item["task"], item["item"]) for item in read_json(path)["items"])


def row(
    suite: Suite,
    name: str,
    task: Task,
    result: Mapping[str, Any],
    contaminated: ContaminatedItems | None,
    baselines: Baselines | None,
) -> dict[str, Any]:
    """The row of a task, from what `harness.run_task` returns for it."""
    samples, source = result["samples"], suite.source(name)
    # Items of all subsets together: the micro-average, as MMLU is reported.
    scores = [sample["scores"][task.metric] for sample in samples]
    return {
        "suite": suite.name,
        "task": name,
        "metric": task.metric,
        **mean_and_stderr(scores),
        "items": result["items"],
        "limited": len(samples) < result["items"],
        "content_sha256": result.get("content_sha256"),
        "shots": task.shots,
        "answer_limit": (result["longest_answer"] or {}).get("tokens"),
        "protocol": describe_protocol(task, result),
        "higher_is_better": True,  # of every metric so far; promotion reads it
        "task_version": version(name),
        "template_sha256": template_sha256(name),
        "harness": f"lm_eval {package_version('lm_eval')}",
        "clean": clean_score(suite.name, source, task.metric, samples, contaminated),
        "baseline": compare_to_baseline(source, task, result, baselines) if baselines else None,
        "truncated": result["truncated"],
        "subsets": by_subset(samples, task.metric),
        "calibration": calibration(samples, task.metric),
        "answer_tokens": answer_lengths(samples),
    }


def _answers_cut(result: Mapping[str, Any]) -> bool:
    """True if answers were limited to fewer tokens than the task asks for."""
    longest = result["longest_answer"]
    return bool(longest) and longest["tokens"] < longest["asked"]


def describe_protocol(task: Task, result: Mapping[str, Any]) -> str:
    """How the row was measured, with what differed from the suite's protocol."""
    sentences = [task.protocol]
    if result["fewshot"] == task.evaluated:
        sentences.append(f"examples from the {task.evaluated} split, never the item itself")
    elif result["fewshot"]:
        sentences.append(f"examples from the {result['fewshot']} split")
    if _answers_cut(result):
        longest = result["longest_answer"]
        sentences.append(f"answers of at most {longest['tokens']} tokens instead of {longest['asked']}")
    return "; ".join(sentences)


def clean_score(
    suite: str, name: str, metric: str, samples: Sequence[Mapping[str, Any]], contaminated: ContaminatedItems | None
) -> dict[str, Any] | None:
    """The score on the items that were not found in the text; None if that is unknown or no item is left."""
    # Whatever decontamination did about the others: a removed document may have reworded copies that it did not find.
    if contaminated is None:
        return None
    scores = [s["scores"][metric] for s in samples if (suite, name, s["item"]) not in contaminated]
    return mean_and_stderr(scores) if scores else None


def compare_to_baseline(name: str, task: Task, result: Mapping[str, Any], baselines: Baselines) -> dict[str, Any]:
    """The published figure as a fraction. The protocol is the same only if the suite says so and nothing was cut."""
    # A cut prompt lost some of its examples, a cut answer may have lost its result: neither is the printed protocol.
    figure = baselines.models[BASELINE_MODEL][name]
    notes = [task.note] if task.note else []
    cut_prompts, cut_answers = result["truncated"], _answers_cut(result)
    if cut_prompts:
        notes.append(f"{cut_prompts} of {len(result['samples'])} prompts were cut to the model's context")
    if cut_answers:
        notes.append(f"answers were cut at {result['longest_answer']['tokens']} tokens")
    return {
        "model": BASELINE_MODEL,
        "value": round(figure.value / 100, 6),
        "shots": figure.shots,
        "same_protocol": task.same_protocol and figure.shots == task.shots and not cut_prompts and not cut_answers,
        "note": "; ".join(notes),
    }
