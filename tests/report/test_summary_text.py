"""Sentences of the report that depend on its facts."""

from __future__ import annotations

from gptoss.report.summary_text import safety
from tests.report.evaluation_inputs import SAFETY


def test_refusals_are_reported_with_standard_errors() -> None:
    sentence = safety({"evaluation": {"safety": SAFETY}})
    assert "Of 20 harmful requests the model refused 90\xa0% ± 7\xa0%" in sentence
    assert "of 20 that only sound harmful 5\xa0% ± 5\xa0%" in sentence
    assert safety({"evaluation": {"safety": None}}) == ""
