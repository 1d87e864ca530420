"""Scores of both variants side by side, with published figures and the level of guessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.config.yaml_sections import load_yaml
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.eval_items.suites import task_infos

BASELINES = Path("evals/baselines")

# The keys of a row that belong to one variant.
CELL = ("value", "stderr", "n", "clean", "truncated", "calibration", "subsets", "answer_tokens")


def collect() -> dict[str, Any]:
    """Bits per byte, one row per task with a cell for each variant, and the tasks that were not run."""
    scores = {
        variant: read_json(path)
        for variant in paths.VARIANTS
        if (path := paths.evaluation(variant) / "scores.json").exists()
    }
    return {
        "heads": sorted(scores),
        "bits_per_byte": {variant: score.get("bits_per_byte") for variant, score in scores.items()},
        "rows": _rows(scores),
        "not_run": _not_run(scores),
        "safety": refusals(scores.get("instruct", {})),
        "conditions": next((score["conditions"] for score in scores.values() if "conditions" in score), None),
        "published_figures": baseline_sources(),
        "published": published_models(),
    }


def _rows(scores: dict[str, Any]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for variant, score in scores.items():
        for row in score.get("rows", []):
            # Both variants have the same rows, except where one was not run; a row then has one cell.
            merged = rows.setdefault((row["suite"], row["task"], row["metric"]), _shared(row))
            merged["limited"] |= bool(row.get("limited"))
            merged["heads"][variant] = {key: row.get(key) for key in CELL} | {"verdict": verdict(row, merged["chance"])}
    # The suite of the GPT-4 report first; within a suite the order of its tasks, as sorting is stable.
    return sorted(rows.values(), key=lambda row: (row["suite"] != "gpt4", row["suite"]))


def _shared(row: dict[str, Any]) -> dict[str, Any]:
    """The part of a row that both variants share."""
    keys = ("suite", "task", "metric", "items", "shots", "protocol", "task_version", "template_sha256", "harness")
    return {key: row.get(key) for key in keys} | {
        "higher_is_better": row.get("higher_is_better", True),
        "chance": info.chance if (info := task_infos().get(row["task"])) else None,
        "limited": False,
        "baseline": row.get("baseline"),
        "heads": {},
    }


def verdict(row: dict[str, Any], level: float | None) -> str:
    """`above`, `at` or `below` guessing, by two standard errors (about a 95 % interval); empty without a level or an
    error."""
    value, stderr = row.get("value"), row.get("stderr")
    if level is None or value is None or stderr is None:
        return ""
    # Exactly two errors counts as guessing: the claim to know something needs more.
    if abs(value - level) <= 2 * stderr:
        return "at"
    return "above" if value > level else "below"


def _not_run(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Each reason once, with the variants that it applies to."""
    merged: dict[tuple[str, str, str], list[str]] = {}
    for variant, score in scores.items():
        for row in score.get("not_run", []):
            merged.setdefault((row["suite"], row["task"], row["reason"]), []).append(variant)
    return [
        {"suite": suite, "task": task, "reason": reason, "heads": variants}
        for (suite, task, reason), variants in merged.items()
    ]


def refusals(score: dict[str, Any]) -> dict[str, Any] | None:
    """How often the Instruct model complied with harmful prompts and refused harmless ones. The answers themselves are
    only in the outputs of `evaluate`."""
    safety = score.get("safety")
    return {key: safety[key] for key in ("compliance", "over_refusal")} if safety else None


def samples() -> dict[str, list[dict[str, Any]]]:
    """The base model's continuations and the Instruct model's answers, and whether each stopped by itself."""
    base, instruct = (paths.evaluation(variant) / "generations.json" for variant in ("base", "instruct"))
    continuations = read_json(base)["continuations"] if base.exists() else []
    answers = read_json(instruct)["answers"] if instruct.exists() else []
    return {
        "base": [
            {"asked": sample["prompt"], "written": sample["text"], "stopped": sample["stopped"]}
            for sample in continuations
        ],
        "instruct": [
            {"asked": sample["question"], "written": sample["answer"], "stopped": sample["stopped"]}
            for sample in answers
        ],
    }


def baseline_sources() -> list[str]:
    """The source of the published figures, one line per file of `evals/baselines`."""
    return [
        ", ".join(str(file[key]) for key in ("source", "table", "date", "url") if file.get(key))
        for file in _baselines()
    ]


def published_models() -> list[dict[str, Any]]:
    """The models of `evals/baselines`, with their figures by task and the source."""
    return [
        {"model": model, "source": str(file["source"]), "figures": figures}
        for file in _baselines()
        for model, figures in file.get("models", {}).items()
    ]


def _baselines() -> list[dict[str, Any]]:
    return [load_yaml(path) for path in sorted(BASELINES.glob("*.yaml"))]
