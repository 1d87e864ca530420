"""The figures of the held-out questions."""

from __future__ import annotations

import pytest

from gptoss.assistant.quiz import rouge_l


def test_equal_answers_are_equal_in_any_script() -> None:
    assert rouge_l("Открыто с девяти до пяти.", "открыто с девяти до пяти") == 1
    assert rouge_l("营业时间九点", "营业时间五点") == pytest.approx(5 / 6)
    assert rouge_l("It's open at 9", "It is open at 9") == pytest.approx(8 / 10)
