"""Sentences that depend on what was observed."""

from __future__ import annotations

import pytest

from gptoss.report.run_history import Observed, Run, Stage
from gptoss.report.summary_text import safety, sharding
from tests.report.evaluation_inputs import SAFETY


def observed(metrics: dict[str, float]) -> Observed:
    run = Run(run_id="a", url=None, started="", seconds=1.0, metrics=metrics, tags={})
    return Observed(stages=[Stage("pretrain", {}, {}, run)])


@pytest.mark.parametrize(
    ("cost", "words"), [(0.14, "sharding cost 14.0\xa0% of that speed"), (-0.02, "gained 2.0\xa0%")]
)
def test_what_sharding_cost_is_told(cost: float, words: str) -> None:
    sentence = sharding(observed({"sharding_cost": cost, "tokens_per_second_of_one_process": 5000.0}))
    assert "one process with the same threads trained at 5,000 tokens/s" in sentence and words in sentence


def test_nothing_is_told_of_what_was_not_measured() -> None:
    assert sharding(observed({})) == "" == sharding(Observed())


def test_refusals_are_told_with_their_standard_errors() -> None:
    sentence = safety({"evaluation": {"safety": SAFETY}})
    assert "Of 20 harmful requests the model refused 90\xa0% ± 7\xa0%" in sentence
    assert "of 20 that only sound harmful 5\xa0% ± 5\xa0%" in sentence
    assert safety({"evaluation": {"safety": None}}) == ""
