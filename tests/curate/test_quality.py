"""The quality rules against values computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from stages.curate.quality import judge, measure, rules
from stages.settings import Settings

PROSE = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this "
    "truth is so well fixed in the minds of the surrounding families, that he is considered the rightful property of "
    "some one or other of their daughters."
)


def measured(text: str) -> dict[str, float]:
    return {name: float(values[0]) for name, values in measure(pa.array([text], pa.large_string())).items()}


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    """The published rules: Gopher's bound on repeated lines, which `tiny` raises for its plays."""
    return settings_with(**{"curate.quality.max_duplicate_line_fraction": 0.3})


def verdict(text: str, settings: Settings, language: str = "en") -> tuple[str | None, str | None]:
    reasons, details = judge(pa.array([text], pa.large_string()), pa.array([language]), settings.curate.quality)
    return reasons[0].as_py(), details[0].as_py()


def test_measures_agree_with_values_computed_by_hand() -> None:
    values = measured("- The cat, sat...\n\n  - and 12 #tags…  \nplain line\nplain line")
    # Words: - The cat, sat... - and 12 #tags… plain line plain line
    assert values["words"] == 12
    assert values["mean_word_length"] == pytest.approx((1 + 3 + 4 + 6 + 1 + 3 + 2 + 6 + 5 + 4 + 5 + 4) / 12)
    assert values["symbol_to_word_ratio"] == pytest.approx(2 / 12)  # two ellipses against one hash sign
    assert values["alphabetic_word_fraction"] == pytest.approx(9 / 12)  # all but the two bullets and 12
    assert values["stop_words"] == 2  # the, and
    assert values["bullet_line_fraction"] == pytest.approx(2 / 4)  # the empty line does not count
    assert values["ellipsis_line_fraction"] == pytest.approx(2 / 4)
    assert values["duplicate_line_fraction"] == pytest.approx(1 / 4)
    assert values["lorem_ipsum"] == 0


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\u3000\u00a0"])
def test_nothing_measures_as_nothing(text: str) -> None:
    assert set(measured(text).values()) == {0.0}


def test_each_document_of_a_batch_is_measured_by_itself() -> None:
    texts = ["", PROSE, "same\nsame", "x", "", "lorem ipsum # #"]
    together = measure(pa.array(texts, pa.large_string()))
    for row, text in enumerate(texts):
        assert measured(text) == {name: values[row] for name, values in together.items()}
    sliced = measure(pa.array(["other", *texts], pa.large_string()).slice(1))
    assert all(np.array_equal(sliced[name], together[name]) for name in together)


def test_length_is_counted_in_characters_not_bytes() -> None:
    assert measured("häuser Čapek naïveté")["mean_word_length"] == pytest.approx((6 + 5 + 7) / 3)


def test_stop_words_are_whole_words_whatever_their_case_and_punctuation() -> None:
    assert measured('"THE" (be), to; of: and. That? have! with…')["stop_words"] == 8
    assert measured("theory becomes together office")["stop_words"] == 0


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (PROSE, None, None),
        ("too short", "min_words", "words 2 < 50"),
        ("a an " * 30, "min_mean_word_length", "mean_word_length 1.5 < 3"),
        ("incomprehensibilities and " * 30, "max_mean_word_length", "mean_word_length 12 > 10"),
        (PROSE + " #" * 20, "max_symbol_to_word_ratio", None),
        (PROSE + " 1234567" * 40, "min_alphabetic_word_fraction", None),
        ("colourless green ideas sleep furiously " * 12, "min_stop_words", "stop_words 0 < 2"),
        (
            "\n".join(f"- {number} bachelors in want of the wife" for number in range(9)),
            "max_bullet_line_fraction",
            None,
        ),
        (PROSE + "\nand so on with it...\nand so forth to it…\n", "max_ellipsis_line_fraction", None),
        ("\n".join([PROSE, PROSE, "x"]), "max_duplicate_line_fraction", "duplicate_line_fraction 0.333333 > 0.3"),
        (PROSE + " Lorem Ipsum dolor", "lorem_ipsum", "lorem_ipsum 1 > 0"),
    ],
)
def test_the_first_broken_rule_is_named_with_its_value(
    text: str, reason: str | None, detail: str | None, settings: Settings
) -> None:
    found, why = verdict(text, settings)
    assert found == reason
    assert detail is None or why == detail


def test_stop_words_are_asked_of_english_only(settings: Settings) -> None:
    text = "Alle Menschen sind frei und gleich an Würde und Rechten geboren, begabt mit Vernunft und Gewissen. " * 4
    assert verdict(text, settings, "en")[0] == "min_stop_words"
    assert verdict(text, settings, "de")[0] is None


def test_a_value_on_the_bound_passes(settings: Settings) -> None:
    for rule in rules(settings.curate.quality):
        assert not rule.broken(np.array([float(rule.bound)])).any()
