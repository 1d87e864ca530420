"""Statistics of per-item scores: mean and its error, calibration, answer lengths, and the difference of two models.

All of them need only the lines of `samples.jsonl`, so that two evaluations can be compared without their models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Decimals of stored figures.
DIGITS = 6
# Bins of equal width in confidence, for the calibration error.
BINS = 10
# Bootstrap samples: the Monte Carlo error of the interval's bounds is then below 1 % of its width.
RESAMPLES = 10_000

Sample = Mapping[str, Any]


def mean_and_stderr(values: Sequence[float]) -> dict[str, Any]:
    """Mean, its standard error (the sample standard deviation over sqrt(n), as in lm-eval; None for a single value) and
    the number of values."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return {"value": round(mean, DIGITS), "stderr": None, "n": n}
    # The same estimate for proportions and for F1, where p(1 - p) / n would not apply.
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return {"value": round(mean, DIGITS), "stderr": round((variance / n) ** 0.5, DIGITS), "n": n}


def by_subset(samples: Sequence[Sample], metric: str) -> dict[str, dict[str, Any]]:
    """Mean and standard error of each subset (MMLU: subject) of a task that has several; empty otherwise."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        subset, separator, _ = sample["item"].partition("/")
        if separator:
            values.setdefault(subset, []).append(sample["scores"][metric])
    return {subset: mean_and_stderr(some) for subset, some in values.items()} if len(values) > 1 else {}


def calibration(samples: Sequence[Sample], metric: str) -> dict[str, Any] | None:
    """Expected calibration error over `BINS` bins of equal width (Guo et al. 2017, equation 3), and the bins that hold
    items: mean confidence, accuracy and number of items. None for a task whose samples have no confidence
    (`harness.describe_choice`)."""
    chosen = [sample for sample in samples if "confidence" in sample]
    if not chosen:
        return None
    confidence = np.array([sample["confidence"] for sample in chosen])
    right = np.array([sample["scores"][metric] for sample in chosen], dtype=float)
    # A confidence of exactly 1 belongs to the last bin.
    bin_numbers = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bin_numbers, minlength=BINS)
    sums = [np.bincount(bin_numbers, weights=values, minlength=BINS) for values in (confidence, right)]
    bins = [
        {"confidence": round(float(sums[0][at] / n), DIGITS), "accuracy": round(float(sums[1][at] / n), DIGITS),
         "n": int(n)}
        for at, n in enumerate(counts)
        if n
    ]  # fmt: skip
    error = float(np.abs(sums[0] - sums[1]).sum() / len(chosen))
    return {"error": round(error, DIGITS), "bins": bins}


def answer_lengths(samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Tokens of generated answers: mean, median, longest, and how many reached the limit; None without generated
    answers."""
    tokens = [int(sample["answer_tokens"]) for sample in samples if "answer_tokens" in sample]
    if not tokens:
        return None
    return {
        "mean": round(float(np.mean(tokens)), 1),
        "median": float(np.median(tokens)),
        "longest": max(tokens),
        "cut": sum(bool(sample["cut_short"]) for sample in samples),
    }


def paired_bootstrap(new: Sequence[float], old: Sequence[float], seed: int) -> dict[str, Any]:
    """The difference in mean score of two models on the same items, with a 95 % interval of the percentile bootstrap
    over items (Efron 1979; for paired systems: Koehn 2004) and the share of resamples in which the new
    model is not better.

    Raises `ValueError` if the models were not measured on equally many items."""
    if len(new) != len(old) or not new:
        raise ValueError(f"{len(new)} scores cannot be paired with {len(old)}")
    differences = np.asarray(new, dtype=float) - np.asarray(old, dtype=float)
    n = len(differences)
    values, counts = np.unique(differences, return_counts=True)
    # Drawing n items with replacement is drawing the count of each distinct difference from a multinomial
    # distribution, so that all resamples cost one call whatever n.
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=RESAMPLES)
    means = drawn @ values / n
    # The percentile interval: with paired differences near zero it needs no assumption of a normal distribution.
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "difference": round(float(differences.mean()), DIGITS),
        "low": round(float(low), DIGITS),
        "high": round(float(high), DIGITS),
        "not_better": round(float((means <= 0).mean()), DIGITS),
        "better_items": int((differences > 0).sum()),
        "worse_items": int((differences < 0).sum()),
        "n": n,
    }


def compare_evaluations(
    new: Sequence[Sample], old: Sequence[Sample], metrics: Mapping[tuple[str, str], str], seed: int
) -> list[dict[str, Any]]:
    """One paired comparison for each task in `metrics` (`(suite, task)` to metric), on the items that both evaluations
    asked with the same prompt. Tasks without such items are left out."""
    old_samples = {_key(sample): sample for sample in old}
    scores: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for sample in new:
        task, old_sample = (sample["suite"], sample["task"]), old_samples.get(_key(sample))
        if old_sample and task in metrics and metrics[task] in old_sample["scores"]:
            new_scores, old_scores = scores.setdefault(task, ([], []))
            new_scores.append(sample["scores"][metrics[task]])
            old_scores.append(old_sample["scores"][metrics[task]])
    return [
        {"suite": task[0], "task": task[1], "metric": metrics[task], **paired_bootstrap(new_scores, old_scores, seed)}
        for task, (new_scores, old_scores) in scores.items()
    ]


def _key(sample: Sample) -> tuple[str, ...]:
    # With the prompt: another template or other examples make another question of the same item.
    return (sample["suite"], sample["task"], sample["item"], sample["prompt_sha256"])
