"""Rows of the table of results: one a task, beside the published figure and as comparable as it really is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import read_json
from gptoss.eval_items.suites import Baselines, Suite, Task
from gptoss.evaluate.statistics import by_subset, calibration, lengths, mean_and_stderr
from gptoss.evaluate.tasks import template_sha256, version

BASELINE_MODEL = "GPT-4"

Contaminated = frozenset[tuple[str, str, str]]


def contaminated(path: Path) -> Contaminated | None:
    """`(suite, task, item)` that decontamination found in the collected text; None where it has not run."""
    if not path.is_file():
        return None
    return frozenset((item["suite"], item["task"], item["item"]) for item in read_json(path)["items"])


def row(
    suite: Suite,
    name: str,
    task: Task,
    result: Mapping[str, Any],
    found: Contaminated | None,
    baselines: Baselines | None,
) -> dict[str, Any]:
    """A row of `scores.json`."""
    samples = result["samples"]
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
        "protocol": protocol(task, result),
        "higher_is_better": True,
        "task_version": version(name),
        "template_sha256": template_sha256(name),
        "harness": f"lm_eval {package_version('lm_eval')}",
        "clean": clean(suite.name, suite.source(name), task.metric, samples, found),
        "baseline": baseline(suite.source(name), task, result, baselines),
        "truncated": result["truncated"],
        "subsets": by_subset(samples, task.metric),
        "calibration": calibration(samples, task.metric),
        "answer_tokens": lengths(samples),
    }


def protocol(task: Task, result: Mapping[str, Any]) -> str:
    """How the row was measured, with what departed from the plan."""
    parts = [task.protocol]
    if result["fewshot"] == task.evaluated:
        parts.append(f"examples from the {task.evaluated} split, never the item itself")
    elif result["fewshot"]:
        parts.append(f"examples from the {result['fewshot']} split")
    if (longest := result["longest_answer"]) and longest["tokens"] < longest["asked"]:
        parts.append(f"answers of at most {longest['tokens']} tokens instead of {longest['asked']}")
    return "; ".join(parts)


def clean(
    suite: str, name: str, metric: str, samples: Sequence[Mapping[str, Any]], found: Contaminated | None
) -> dict[str, Any] | None:
    """The score on the items that were never found in the text, whatever was then done about the others; None where
    that is unknown or nothing is left."""
    if found is None:
        return None
    kept = [s["scores"][metric] for s in samples if (suite, name, s["item"]) not in found]
    return mean_and_stderr(kept) if kept else None


def baseline(name: str, task: Task, result: Mapping[str, Any], baselines: Baselines | None) -> dict[str, Any] | None:
    """The published figure as a fraction. The protocol is the same only if it was meant to be and nothing was cut."""
    if baselines is None:
        return None
    figure = baselines.models[BASELINE_MODEL][name]
    notes = [task.note] if task.note else []
    cut_prompts, longest = result["truncated"], result["longest_answer"]
    if cut_prompts:
        notes.append(f"{cut_prompts} of {len(result['samples'])} prompts were cut to the model's context")
    cut_answers = bool(longest) and longest["tokens"] < longest["asked"]
    if cut_answers:
        notes.append(f"answers were cut at {longest['tokens']} tokens")
    same = task.same_protocol and figure.shots == task.shots and not cut_prompts and not cut_answers
    return {
        "model": BASELINE_MODEL,
        "value": round(figure.value / 100, 6),
        "shots": figure.shots,
        "same_protocol": same,
        "note": "; ".join(notes),
    }
