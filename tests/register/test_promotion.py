"""When a candidate becomes champion."""

from __future__ import annotations

from stages.register.promotion import Row, as_tags, decide, from_tags, rows_of

PASSED = {"gates": [{"name": "loads", "passed": True}]}
SCORES = {
    "bits_per_byte": {"model": 2.0},
    "rows": [
        {
            "suite": "smoke",
            "task": "mmlu",
            "metric": "acc",
            "value": 0.5,
            "stderr": 0.1,
            "n": 24,
            "template_sha256": "ab",
        },
        {
            "suite": "smoke",
            "task": "drop",
            "metric": "f1",
            "value": 0.0,
            "stderr": None,
            "n": 24,
            "template_sha256": "cd",
        },
    ],
}


def test_scores_survive_the_tags() -> None:
    assert from_tags(as_tags(SCORES)) == rows_of(SCORES)


def test_the_first_candidate_is_promoted_and_a_failed_gate_never() -> None:
    assert decide(rows_of(SCORES), None, PASSED, 2.0).promoted
    failed = decide(rows_of(SCORES), None, {"gates": [{"name": "kl", "passed": False}]}, 2.0)
    assert not failed.promoted
    assert failed.reasons == ("gate kl failed",)


def test_a_fall_beyond_the_bound_blocks_promotion() -> None:
    champion = {"row": Row(0.80, 0.03, 100, "t")}
    just_inside = {"row": Row(0.72, 0.04, 100, "t")}  # 0.08 <= 2 * hypot(0.03, 0.04) = 0.10
    outside = {"row": Row(0.69, 0.04, 100, "t")}  # 0.11 > 0.10
    assert decide(just_inside, champion, PASSED, 2.0).promoted
    decision = decide(outside, champion, PASSED, 2.0)
    assert not decision.promoted
    assert "row fell from 0.8000 to 0.6900: 0.1100 > 2 * 0.0500" in decision.reasons[0]


def test_rows_measured_differently_are_not_compared() -> None:
    champion = {"row": Row(0.9, 0.0, 100, "t")}
    assert decide({"row": Row(0.1, 0.0, 50, "t")}, champion, PASSED, 2.0).promoted
    assert decide({"row": Row(0.1, 0.0, 100, "other")}, champion, PASSED, 2.0).promoted


def test_lower_is_better_where_the_row_says_so() -> None:
    champion = {"row": Row(1.0, 0.01, 9, "t", higher_is_better=False)}
    assert not decide({"row": Row(1.5, 0.01, 9, "t", higher_is_better=False)}, champion, PASSED, 2.0).promoted
    assert decide({"row": Row(0.5, 0.01, 9, "t", higher_is_better=False)}, champion, PASSED, 2.0).promoted
