"""Outputs of the evaluations of both variants, as the report reads them: scores, generations, refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gptoss.core import paths
from gptoss.core.atomic_files import write_json

HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x.png onerror=a()> "
HOSTILE += "\x00\x1b[31m\u202egnp.exe | `tick` **bold**"
SAFETY = {
    "compliance": {"value": 0.1, "stderr": 0.0688, "n": 20},
    "over_refusal": {"value": 0.05, "stderr": 0.05, "n": 20},
}
MULTIPLE_CHOICE = {
    "mmlu": (5, 0.2447, 0.864),
    "hellaswag": (10, 0.2683, 0.953),
    "arc_challenge": (25, 0.2341, 0.963),
    "winogrande": (5, 0.4912, 0.875),
}
FREE = {"gsm8k": (5, 0.0, 0.92), "drop": (3, 0.0121, 0.809)}


def evaluations() -> None:
    """Scores and samples of both variants."""
    for variant, shift in (("base", 0.0), ("instruct", 0.031)):
        rows = [
            _row(suite, task, facts, shift)
            for suite in ("smoke", "gpt4")
            for task, facts in (MULTIPLE_CHOICE | FREE).items()
        ]
        scores = {
            "head": variant,
            "bits_per_byte": {
                "model": 2.171 + shift * 5,
                "tokens": 45_000,
                "bytes": 150_000,
                "baselines": {"unigram": 4.537, "trigram": 2.903, "fivegram": 2.288},
            },
            "conditions": {
                "batch_size": 16,
                "fewshot_seed": 1234,
                "arithmetic": "float32",
                "bos": {"gpt4": f"none {HOSTILE}"},
            },
            "rows": rows,
            "not_run": [{"suite": "gpt4", "task": "humaneval", "reason": f"evaluate.execute_code is false {HOSTILE}"}],
        }
        if variant == "instruct":
            scores["safety"] = SAFETY | {"answers": [{"answer": HOSTILE}]}
        write_json(paths.evaluation(variant) / "scores.json", scores)
    continuations = [
        {
            "prompt": "The city of",
            "text": " the world is the most common of the state, and the\ncountry.",
            "stopped": False,
        },
        {"prompt": "My lord, I", "text": " will not be so.\n\nHAMLET.\nWhat is the matter, my lord?", "stopped": True},
        {"prompt": "In the history of", "text": HOSTILE, "stopped": True},
    ]
    answers = [
        {"question": "Hello!", "answer": "Hello! How can I help you?", "stopped": True},
        {"question": "Who are you?", "answer": "I am a small language model trained from scratch.", "stopped": True},
        {
            "question": "What is the capital of France?",
            "answer": "The capital is the city. " + HOSTILE,
            "stopped": False,
        },
    ]
    write_json(paths.evaluation("base") / "generations.json", {"continuations": continuations, "answers": []})
    write_json(paths.evaluation("instruct") / "generations.json", {"continuations": [], "answers": answers})
    figures = {
        "source": "OpenAI, GPT-4 Technical Report",
        "table": "Table 2",
        "date": "2023-03",
        "url": "https://arxiv.org/abs/2303.08774",
        "models": {"GPT-4": {"mmlu": {"value": 86.4, "shots": 5, "metric": "accuracy", "protocol": HOSTILE}}},
    }
    write_json(Path("evals/baselines/gpt4.yaml"), figures)  # JSON is YAML


def _row(suite: str, task: str, facts: tuple[int, float, float], shift: float) -> dict[str, Any]:
    shots, value, published = facts
    value = round(min(1.0, value + shift * (value > 0)), 4)
    return {
        "suite": suite,
        "task": task,
        "metric": "f1" if task == "drop" else "acc",
        "value": value,
        "stderr": round(math.sqrt(value * (1 - value) / 20), 4),
        "n": 20,
        "items": 1319 if suite == "gpt4" else 24,
        "limited": True,
        "shots": shots,
        "protocol": "lm-eval: the most likely of the letters A to D",
        "higher_is_better": True,
        "task_version": 1,
        "template_sha256": "ef" * 32,
        "harness": "lm_eval 0.4.13",
        "clean": {"value": value, "stderr": 0.1, "n": 18} if task == "mmlu" else None,
        "truncated": 0,
        "calibration": {
            "error": 0.12,
            "bins": [{"confidence": 0.31, "accuracy": 0.2, "n": 15}, {"confidence": 0.64, "accuracy": value, "n": 5}],
        }
        if task in MULTIPLE_CHOICE
        else None,
        "subsets": {
            "astronomy": {"value": value, "stderr": None, "n": 1},
            "virology": {"value": 0.0, "stderr": None, "n": 1},
        }
        if task == "mmlu"
        else {},
        "answer_tokens": {"mean": 12.5, "median": 12.0, "longest": 64, "cut": 2} if task in FREE else None,
        "baseline": {
            "model": "GPT-4",
            "value": published,
            "shots": shots,
            "same_protocol": task == "gsm8k",
            "note": "chose a letter; here likelihoods are ranked" if task in MULTIPLE_CHOICE else "",
        }
        if suite == "gpt4"
        else None,
    }
