"""Samples of removed documents: chosen by their ids, each beside the document that was kept."""

from __future__ import annotations

import json

from gptoss.config.settings import Settings
from gptoss.report import facts
from gptoss.report.removed import diff_words, excerpt_at_quote


def test_a_near_duplicate_is_shown_with_the_kept_document(made: Settings) -> None:
    removed = json.loads(facts.PATH.read_text())["corpus"]["removed"]
    fuzzy = next(group for group in removed if group["reason"] == "fuzzy")["samples"][0]
    assert fuzzy["twin"]["jaccard"] == 0.941
    assert [text for text, differs in fuzzy["excerpt"] if differs] == ["sea."]
    assert [text for text, differs in fuzzy["twin"]["excerpt"] if differs] == ["river."]
    assert diff_words("a b c", "a x c") == (
        [["a", False], ["b", True], ["c", False]],
        [["a", False], ["x", True], ["c", False]],
    )


def test_a_contaminated_document_is_shown_at_the_benchmark_item() -> None:
    text = "word " * 40 + "Your noble son is mad:\nMad call I it; for to define" + " word" * 200
    before, found, after = excerpt_at_quote(text, "gpt4/mmlu/1: “your noble son is mad mad call i it”")
    assert found == ["Your noble son is mad: Mad call I it", True]
    assert before[0].startswith("… word") and after[0].startswith("; for to define word") and after[0].endswith(" …")
    assert excerpt_at_quote("short", "“not in it”") == [["short", False]]
    assert excerpt_at_quote("short", "") == [["short", False]]


def test_the_samples_of_removed_documents_do_not_depend_on_their_order(made: Settings) -> None:
    group = next(
        one for one in json.loads(facts.PATH.read_text())["corpus"]["removed"] if one["reason"] == "few_stop_words"
    )
    assert group["documents"] == 4
    assert len(group["samples"]) == 4
    assert [sample["id"] for sample in group["samples"]] == sorted(sample["id"] for sample in group["samples"])
