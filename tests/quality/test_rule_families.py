"""The quality rules: values computed by hand, hostile texts, and datatrove's recorded decisions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.filters.agreement import (
    C4_RULES,
    FINEWEB,
    GOPHER,
    OFF,
    PUBLISHED,
    REPETITION,
    agreement,
    apply_all_rules,
)
from benchmarks.filters.documents import digest, documents
from gptoss.config.curate import QualityConfig
from gptoss.quality.rule_families import RuleResults, apply_rules

DECISIONS = Path(__file__).with_name("datatrove.parquet")
"""What datatrove's filters say about documents, by the SHA-256 of the text; its metadata say how it was made."""
LEAST_DOCUMENTS = 300
LEAST_AGREEMENT = 0.99
PROSE = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this "
    "truth is so well fixed in the minds of the surrounding families, that he is considered the rightful property of "
    "some one or other of their daughters."
)


def run_rules(texts: list[str], quality: QualityConfig, language: str = "en") -> RuleResults:
    return apply_rules(pa.array(texts, pa.large_string()), pa.array([language] * len(texts)), quality)


def measured(text: str, family: str) -> dict[str, float]:
    return {name: float(values[0]) for name, values in run_rules([text], PUBLISHED[family]).measures.items()}


def reason(text: str, family: str, language: str = "en") -> str | None:
    value = run_rules([text], PUBLISHED[family], language).reason[0].as_py()
    assert value is None or isinstance(value, str)
    return value


def cleaned(text: str, **changes: object) -> str:
    quality = OFF.model_copy(update={"c4": C4_RULES.model_copy(update={"min_sentences": 0, **changes})})
    return str(run_rules([text], quality).texts[0].as_py())


def test_a_document_that_loses_every_line_is_removed() -> None:
    quality = OFF.model_copy(update={"c4": C4_RULES.model_copy(update={"min_sentences": 0})})
    found = run_rules(["Buttons\nand menus", PROSE, " \n"], quality)
    assert found.reason.to_pylist() == ["empty", None, "empty"]
    assert found.texts.to_pylist()[0] == "Buttons\nand menus"


def test_gopher_measures_are_those_computed_by_hand() -> None:
    values = measured("- The cat, sat...\n\n  - and 12 #tags…  \nplain line\nplain line", "gopher")
    # Words: - The cat , sat ... - and 12 # tags … plain line plain line.
    assert values["words"] == 10
    assert values["mean_word_length"] == pytest.approx((3 + 3 + 3 + 3 + 2 + 4 + 5 + 4 + 5 + 4) / 10)
    assert values["symbol_to_word_ratio"] == pytest.approx(2 / 16)  # two ellipses against one hash sign
    assert values["alphabetic_word_fraction"] == pytest.approx(9 / 16)
    assert values["stop_words"] == 1  # and: The has a capital
    assert values["bullet_line_fraction"] == pytest.approx(2 / 5)  # the empty line counts
    assert values["ellipsis_line_fraction"] == pytest.approx(2 / 5)


def test_repetition_measures_are_those_computed_by_hand() -> None:
    values = measured("a b c d e\na b c d e\nf", "repetition")
    characters = 21
    assert values["duplicate_line_fraction"] == pytest.approx(1 / 3)
    assert values["duplicate_line_characters"] == pytest.approx(9 / characters)
    assert values["duplicate_paragraph_fraction"] == 0
    assert values["top_2gram"] == pytest.approx(2 * len("a b") / characters)
    assert values["top_4gram"] == pytest.approx(2 * len("a b c d") / characters)
    assert values["duplicate_5gram"] == pytest.approx(5 / characters)  # without the spaces between the words
    assert values["duplicate_6gram"] == 0


def test_fineweb_measures_are_those_computed_by_hand() -> None:
    values = measured("One line ends.\nOther\n \nOther\n" + "x" * 40, "fineweb")
    assert values["terminal_punctuation_line_fraction"] == pytest.approx(1 / 4)
    assert values["short_line_fraction"] == pytest.approx(3 / 4)
    assert values["repeated_line_characters"] == pytest.approx(5 / 65)
    assert values["newline_to_word_ratio"] == pytest.approx(4 / 7)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("  The line stays here.\t", "The line stays here."),
        ("No mark at its end", ""),
        ("Goes on and on...", ""),
        ("Too short.", ""),
        ("A " + "w" * 1001 + " is long.", ""),
        ("Here JavaScript is needed.", ""),
        ("Read our Privacy Policy now.", ""),
        ('So it was[1] said[citation needed] there."', 'So it was said there."'),
        ("A reference ends it. [12]", ""),  # a space is left at the end
    ],
)
def test_c4_cuts_lines(line: str, kept: str) -> None:
    first, last = "The first line stays.", "The last line stays!"
    assert cleaned(f"{first}\n{line}\r\n{last}") == "\n".join(part for part in (first, kept, last) if part)


def test_c4_removes_documents_and_leaves_their_text() -> None:
    five = "One is here. Two is here. Mr. Three is here? Four is here! Five is here."
    text = f"Menu\n{five}\n"
    assert run_rules([text], PUBLISHED["c4"]).texts[0].as_py() == five
    assert reason(text, "c4") is None
    assert reason(five.replace("!", ","), "c4") == "c4.min_sentences"
    assert reason(five + "\nAnd lorem Ipsum dolor is here.", "c4") == "c4.drop_lorem_ipsum"
    assert reason(five + "\nIf so { do it; } is here.", "c4") == "c4.drop_curly_brackets"
    assert run_rules(["Menu\nOne is here."], PUBLISHED["c4"]).texts[0].as_py() == "Menu\nOne is here."


@pytest.mark.parametrize(
    ("text", "rule", "detail"),
    [
        (PROSE, None, None),
        ("too short", "gopher.min_words", "words 2 < 50"),
        ("a an " * 30, "gopher.min_mean_word_length", "mean_word_length 1.5 < 3"),
        ("incomprehensibilities and " * 30, "gopher.max_mean_word_length", "mean_word_length 12 > 10"),
        (PROSE + " #" * 20, "gopher.max_symbol_to_word_ratio", None),
        (PROSE + " 1234567" * 40, "gopher.min_alphabetic_word_fraction", None),
        ("colourless green ideas sleep furiously " * 12, "gopher.min_stop_words", "stop_words 0 < 2"),
        (
            "\n".join(f"- {number} bachelors in want of the wife" for number in range(9)),
            "gopher.max_bullet_line_fraction",
            "bullet_line_fraction 1 > 0.9",
        ),
        (PROSE + "\nand so on with it...\nand so forth to it…\n", "gopher.max_ellipsis_line_fraction", None),
        (
            "\n".join([PROSE, PROSE, "x"]),
            "repetition.max_duplicate_line_fraction",
            "duplicate_line_fraction 0.333333 > 0.3",
        ),
        (PROSE + "\nand to the end" * 2, "repetition.max_duplicate_line_fraction", None),
    ],
)
def test_the_first_broken_rule_is_named_with_its_value(text: str, rule: str | None, detail: str | None) -> None:
    quality = OFF.model_copy(update={"gopher": GOPHER, "repetition": REPETITION})
    found = run_rules([text], quality)
    assert found.reason[0].as_py() == rule
    assert detail is None or found.detail[0].as_py() == detail


def test_stop_words_apply_to_english_only() -> None:
    text = "Alle Menschen sind frei und gleich an Würde und Rechten geboren, begabt mit Vernunft und Gewissen. " * 4
    assert reason(text, "gopher", "en") == "gopher.min_stop_words"
    assert reason(text, "gopher", "de") is None


def test_later_families_see_what_c4_leaves_and_measure_only_documents_kept() -> None:
    lines = "This sentence is long enough to stay and ends in a full stop, like all of the others in here. " * 5
    quality = OFF.model_copy(update={"c4": C4_RULES, "fineweb": FINEWEB})
    found = run_rules([f"Menu\nHome\n{lines}\nLogin\n", "Too short."], quality)
    assert found.measures["short_line_fraction"][0] == 0
    assert np.isnan(found.measures["short_line_fraction"][1])
    assert found.reason.to_pylist() == [None, "c4.min_sentences"]


def test_families_that_are_off_change_nothing() -> None:
    found = run_rules(["", "x"], OFF)
    assert found.reason.null_count == 2
    assert found.measures == {}
    assert found.texts.to_pylist() == ["", "x"]


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_documents_of_a_batch_do_not_affect_each_other(family: str) -> None:
    texts = ["", PROSE, "same\nsame", "x", "\0", "lorem ipsum # #", "\n\n\n", "!?…", "\u3000\u00a0", "é" * 3]
    together = run_rules(texts, PUBLISHED[family])
    for row, text in enumerate(texts):
        alone = run_rules([text], PUBLISHED[family])
        assert alone.reason[0] == together.reason[row]
        assert alone.texts[0] == together.texts[row]
        for name, values in together.measures.items():
            np.testing.assert_array_equal(alone.measures[name], values[row : row + 1])
    sliced = apply_rules(
        pa.array(["other", *texts], pa.string()).slice(1), pa.array(["en"] * len(texts)), PUBLISHED[family]
    )
    assert sliced.reason.equals(together.reason)
    assert sliced.texts.equals(together.texts)
    assert run_rules([], PUBLISHED[family]).reason.to_pylist() == []


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000_000,
        "x y " * 2_500_000,
        "a.b@" * 500_000,
        "!" * 2_000_000,
        "." * 2_000_000,
        "\n" * 2_000_000,
        "\0" * 2_000_000,
        "-" * 2_000_000,
        "[1" * 1_000_000,
        "9km" * 500_000,
        "’s…é\u0301" * 300_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    # Anything slower than linear would take hours.
    for quality in PUBLISHED.values():
        run_rules([text], quality)


def test_broken_utf8_stays_within_the_text() -> None:
    broken = [b"abc \xff\xfe \xe2\x80", b"\xf0\x9f", b"\x80\x80\x80 word. \xc3"]
    offsets = np.cumsum([0, *map(len, broken)], dtype=np.int64)
    texts = pa.LargeStringArray.from_buffers(len(broken), pa.py_buffer(offsets), pa.py_buffer(b"".join(broken)))
    for quality in PUBLISHED.values():
        apply_rules(texts, pa.array(["en"] * len(broken)), quality)


def test_decisions_and_texts_are_those_of_datatrove() -> None:
    """Each family, and each rule alone. Recorded: `python benchmarks/quality.py --record`. The made-up documents are
    there on every machine, the others where the sample data and the machine's licences are."""
    record = pq.read_table(DECISIONS)
    known = {row["sha256"]: row for row in record.to_pylist()}
    root = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("GPTOSS_SHARED", root.parent / "shared")) / "data"
    texts = [text for text in documents(data if data.is_dir() else None) if bytes.fromhex(digest(text)) in known]
    assert len(texts) >= LEAST_DOCUMENTS
    rows = [known[bytes.fromhex(digest(text))] for text in texts]
    rules = json.loads(record.schema.metadata[b"rules"])
    decisions = [row["decisions"] for row in rows]
    for column, rule in enumerate(rules):
        assert {"0", "1"} <= {row[column] for row in decisions}, f"{rule}: one outcome only"
    ours = apply_all_rules(texts)
    shares = agreement(ours, rules, decisions)
    assert {rule: share for rule, share in shares.items() if share < LEAST_AGREEMENT} == {}
    for name, found in ours.texts.items():
        same = [row[name].hex() == text for row, text in zip(rows, found, strict=True)]
        assert np.mean(same) >= LEAST_AGREEMENT, name
