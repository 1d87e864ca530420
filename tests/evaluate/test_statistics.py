"""Statistics of a column of scores, against values computed by hand and against the plain bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gptoss.evaluate.statistics import (
    RESAMPLES,
    answer_lengths,
    by_subset,
    calibration,
    compare_evaluations,
    mean_and_stderr,
    paired_bootstrap,
)


def sample(item: str, score: float, **more: Any) -> dict[str, Any]:
    return {"suite": "s", "task": "t", "item": item, "prompt_sha256": f"p{item}", "scores": {"acc": score}, **more}


def test_standard_error() -> None:
    assert mean_and_stderr([1.0]) == {"value": 1.0, "stderr": None, "n": 1}
    assert mean_and_stderr([0.0, 1.0]) == {"value": 0.5, "stderr": 0.5, "n": 2}


def test_subsets() -> None:
    samples = [sample("a/0", 1.0), sample("a/1", 0.0), sample("b/0", 1.0)]
    assert by_subset(samples, "acc") == {"a": mean_and_stderr([1.0, 0.0]), "b": mean_and_stderr([1.0])}
    assert by_subset(samples[:2], "acc") == by_subset([sample("0", 1.0)], "acc") == {}


def test_calibration_by_hand() -> None:
    samples = [
        sample(str(n), score, confidence=sure) for n, (score, sure) in enumerate([(1, 0.95), (0, 0.91), (1, 0.5)])
    ]
    found = calibration(samples, "acc")
    assert found is not None
    assert found["bins"] == [
        {"confidence": 0.5, "accuracy": 1.0, "n": 1},
        {"confidence": 0.93, "accuracy": 0.5, "n": 2},
    ]
    assert found["error"] == pytest.approx((0.5 + 2 * 0.43) / 3, abs=1e-6)
    assert calibration([sample("0", 1.0)], "acc") is None
    sure = calibration([sample("0", 1.0, confidence=1.0)], "acc")
    assert sure == {"error": 0.0, "bins": [{"confidence": 1.0, "accuracy": 1.0, "n": 1}]}


def test_answer_lengths_of_generated_answers() -> None:
    samples = [sample(str(n), 0.0, answer_tokens=tokens, cut_short=tokens == 9) for n, tokens in enumerate([1, 9, 2])]
    assert answer_lengths(samples) == {"mean": 4.0, "median": 2.0, "longest": 9, "cut": 1}
    assert answer_lengths([sample("0", 0.0)]) is None


def test_the_interval_is_that_of_resampled_items() -> None:
    rng = np.random.default_rng(3)
    new, old = (rng.random(200) < 0.6).astype(float), (rng.random(200) < 0.5).astype(float)
    found = paired_bootstrap(list(new), list(old), seed=1)
    differences = new - old
    means = differences[rng.integers(0, 200, (RESAMPLES, 200))].mean(axis=1)
    assert found["difference"] == pytest.approx(differences.mean())
    assert [found["low"], found["high"]] == pytest.approx(list(np.percentile(means, [2.5, 97.5])), abs=0.006)
    assert found["not_better"] == pytest.approx((means <= 0).mean(), abs=0.01)
    assert found == paired_bootstrap(list(new), list(old), seed=1), "seeded"
    assert found["better_items"] - found["worse_items"] == differences.sum()


def test_the_same_scores_do_not_differ_and_a_shift_is_certain() -> None:
    same = paired_bootstrap([0.0, 1.0, 1.0], [0.0, 1.0, 1.0], seed=1)
    assert (same["difference"], same["low"], same["high"], same["not_better"]) == (0, 0, 0, 1)
    better = paired_bootstrap([1.0] * 30, [0.0] * 30, seed=1)
    assert (better["low"], better["high"], better["not_better"]) == (1, 1, 0)
    with pytest.raises(ValueError, match="3 scores cannot be paired with 2"):
        paired_bootstrap([0.0] * 3, [0.0] * 2, seed=1)


def test_only_the_same_prompts_are_compared() -> None:
    new = [sample("0", 1.0), sample("1", 0.0), sample("2", 1.0) | {"prompt_sha256": "changed"}, sample("3", 1.0)]
    old = [sample("0", 0.0), sample("1", 0.0), sample("2", 0.0)]
    (found,) = compare_evaluations(new, old, {("s", "t"): "acc"}, seed=1)
    assert (found["suite"], found["task"], found["metric"], found["n"]) == ("s", "t", "acc", 2)
    assert (found["difference"], found["better_items"], found["worse_items"]) == (0.5, 1, 0)
    assert compare_evaluations(new, old, {}, seed=1) == compare_evaluations(new, [], {("s", "t"): "acc"}, seed=1) == []
