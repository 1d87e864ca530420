"""When a candidate becomes champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gptoss.registry import promotion
from gptoss.registry.measurements import HeldOutBits, Measurements, TaskScore
from gptoss.registry.promotion import Comparison, Decision, Finding, decide

PASSED: list[Mapping[str, Any]] = [{"name": "loads", "passed": True}]
ROW: dict[str, Any] = {
    "suite": "smoke", "task": "mmlu", "metric": "acc", "value": 0.5, "stderr": 0.1, "n": 24, "shots": 5,
    "answer_limit": None, "template_sha256": "ab", "content_sha256": "cd",
}  # fmt: skip
DROP = {"task": "drop", "metric": "f1", "value": 0.0, "stderr": None, "answer_limit": 64}
SCORES = {"head": "base", "bits_per_byte": {"model": 2.0, "shards_sha256": "ef"}, "rows": [ROW, ROW | DROP]}
MEASURED = Measurements.from_scores(SCORES)
BEST = TaskScore(0.8, 0.03, 100, "t", shots=5, answer_limit=64, content="c")


def verdict(
    candidate: Measurements, champion: Measurements | None, gates: list[Mapping[str, Any]] = PASSED
) -> Decision:
    return decide(Comparison(candidate, champion, gates, max_drop=2.0))


def against_best(candidate: TaskScore | None, **others: TaskScore) -> Decision:
    rows = {"row": candidate} if candidate else {}
    return verdict(Measurements(rows | others), Measurements({"row": BEST}))


def test_scores_survive_the_tags() -> None:
    assert Measurements.from_tags(MEASURED.as_tags()) == MEASURED


def test_the_first_candidate_is_promoted_and_a_failed_gate_never() -> None:
    assert verdict(MEASURED, None).promoted
    failed = verdict(MEASURED, None, [{"name": "kl", "passed": False}])
    assert not failed.promoted
    assert failed.reasons == ("gate kl failed",)


def test_an_equal_model_is_promoted() -> None:
    assert verdict(MEASURED, Measurements.from_tags(MEASURED.as_tags())).promoted


def test_a_fall_beyond_the_bound_blocks_promotion() -> None:
    assert against_best(replace(BEST, value=0.72, stderr=0.04)).promoted  # 0.08 <= 2 * hypot(0.03, 0.04) = 0.10
    decision = against_best(replace(BEST, value=0.69, stderr=0.04))  # 0.11 > 0.10
    assert not decision.promoted and not decision.undecided
    assert "row fell from 0.8000 to 0.6900: 0.1100 > 2 * 0.0500" in decision.reasons[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n": 50}, "row (items 50, was 100)"),
        ({"template": "other"}, "row (template other, was t)"),
        ({"shots": 0}, "row (shots 0, was 5)"),
        ({"answer_limit": 512}, "row (answer limit 512, was 64)"),
        ({"content": "altered"}, "row (content altered, was c)"),
        ({"content": ""}, "row (measured before its items were kept)"),
    ],
)
def test_a_row_that_was_measured_differently_leaves_the_decision_open(change: dict[str, Any], text: str) -> None:
    decision = against_best(replace(BEST, value=0.9, **change))
    assert not decision.promoted and decision.undecided
    assert decision.reasons == (f"not comparable with the champion's: {text}",)


def test_a_row_of_the_champion_cannot_be_left_out() -> None:
    decision = against_best(None, other=BEST)
    assert decision.undecided and "row (not measured)" in decision.reasons[0]
    assert against_best(BEST, other=BEST).promoted, "a new row is not an obstacle"


def test_a_version_without_recorded_items_is_not_comparable() -> None:
    old = {"gptoss.row.row": '{"value": 0.1, "stderr": 0.0, "n": 100, "template": "t", "higher_is_better": true}'}
    assert not verdict(Measurements({"row": BEST}), Measurements.from_tags(old)).promoted
    assert not verdict(Measurements.from_tags(old), Measurements.from_tags(old)).promoted
    nothing = verdict(Measurements({"row": BEST}), Measurements.from_tags({}))
    assert nothing.undecided and "nothing that was measured is comparable" in nothing.reasons[0]


def test_lower_is_better_where_the_row_says_so() -> None:
    champion = replace(BEST, value=1.0, stderr=0.01, higher_is_better=False)
    for value, promoted in ((1.5, False), (0.5, True)):
        candidate = Measurements({"row": replace(champion, value=value)})
        assert verdict(candidate, Measurements({"row": champion})).promoted == promoted


@pytest.mark.parametrize(
    ("bits", "shards", "head", "promoted"),
    [
        (1.900, "same", "base", True),
        (2.009, "same", "base", True),
        (2.011, "same", "base", False),
        (float("nan"), "same", "base", False),
        (2.090, "same", "instruct", True),
        (2.110, "same", "instruct", False),
        (3.000, "other", "base", True),
    ],
)
def test_bits_per_byte_may_not_rise_on_the_same_held_out_shards(
    bits: float, shards: str, head: str, promoted: bool
) -> None:
    champion = Measurements({"row": BEST}, HeldOutBits(2.0, "same", head))
    assert verdict(Measurements({"row": BEST}, HeldOutBits(bits, shards, head)), champion).promoted == promoted
    alone = verdict(Measurements({}, HeldOutBits(bits, shards, head)), replace(champion, scores={}))
    assert alone.promoted == (promoted and shards == "same"), "without rows it decides alone, when it can"


def test_a_new_check_is_one_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def small_enough(comparison: Comparison) -> Finding:
        return Finding(against=("the model is too large",))

    monkeypatch.setattr(promotion, "RULES", (*promotion.RULES, small_enough))
    assert against_best(BEST).reasons == ("the model is too large",)
