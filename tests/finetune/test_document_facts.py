"""A company's documents become facts: every format, every wording, and error messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import DataError, UserError
from gptoss.finetune.document_facts import Fact, read_facts, shorten

MARKDOWN = """---
title: Refund policy
---
# A fair refund

If you are ever unhappy with us, we will take care of you.

## How long do refunds take?

A refund takes *five* days. See [the page](pay.md).

- Cards take three days.
- Banks take five days.

## Contact

## By post

Write to 1 Main Street, Springfield.
"""
HTML = """<html><body><h1>Delivery</h1><p>We deliver to all of Europe within a week.</p>
<dl><dt>Do you deliver on Sundays?</dt><dd>No, we rest on Sundays.</dd></dl>
<details><summary>Can I change the address?</summary><p>Yes, until we have shipped it.</p></details></body></html>"""


def facts(folder: Path, **documents: str | bytes) -> dict[str, Fact]:
    folder.mkdir(exist_ok=True)
    for name, content in documents.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {fact.wordings[0]: fact for fact in read_facts(folder, 200)}


def test_markdown_sections(tmp_path: Path) -> None:
    found = facts(tmp_path / "a", refund__md=MARKDOWN)
    assert {question: fact.answer for question, fact in found.items()} == {
        "What does the Refund policy say about A fair refund?": "If you are ever unhappy with us, "
        "we will take care of you.",
        "How long do refunds take? (Refund policy)": "A refund takes five days. See the page. "
        "Cards take three days. Banks take five days.",
        "What does the Refund policy say about By post?": "Write to 1 Main Street, Springfield.",
    }


def test_html_questions(tmp_path: Path) -> None:
    found = facts(tmp_path / "a", delivery__html=HTML)
    assert found["What is the Delivery?"].answer == "We deliver to all of Europe within a week."
    assert found["Do you deliver on Sundays? (Delivery)"].answer == "No, we rest on Sundays."
    assert found["Can I change the address? (Delivery)"].answer == "Yes, until we have shipped it."


def test_a_rule_keeps_its_own_words_beside_its_exceptions(tmp_path: Path) -> None:
    rule = "# Returns\n\n- You may return goods within 30 days, except:\n    - food\n    - gifts\n- Ask us first.\n"
    found = facts(tmp_path / "a", returns__md=rule)
    assert [fact.answer for fact in found.values()] == [
        "You may return goods within 30 days, except: food gifts Ask us first."
    ]


def test_plain_text_of_any_element_is_read_once(tmp_path: Path) -> None:
    page = """<body><nav><a>Home</a></nav><h1>Help</h1><div>We are <b>here</b> for<br>you.<script>run()</script></div>
    <table><tr><td>Open</td><td><p>daily</p></td><td>at 9</td></tr></table>
    <details><summary><h3>Where is it?</h3></summary>At the <i>back</i> door.</details></body>"""
    found = facts(tmp_path / "a", help__html=page)
    assert [(question, fact.answer) for question, fact in found.items()] == [
        ("What is the Help?", "We are here for you. Open daily at 9"),
        ("Where is it? (Help)", "At the back door."),
    ]
    deep = "<div>" * 3000 + "Deep down there is an answer." + "</div>" * 3000
    assert [fact.answer for fact in facts(tmp_path / "b", deep__html=deep).values()] == [
        "Deep down there is an answer."
    ]


def test_quotation_marks_are_those_of_tables_however_late_they_come(tmp_path: Path) -> None:
    rows = [f'"What is number {n}?","It is the number {n}."' for n in range(400)]
    late = '"How do I say ""no"", please?","Press the ""no"" key."'
    found = facts(tmp_path / "a", faq__csv="\n".join(['"question","answer"', *rows, late]))
    assert len(found) == 401
    assert found['How do I say "no", please?'].answer == 'Press the "no" key.'


@pytest.mark.parametrize("length", [1, 5000])
def test_an_open_quotation_mark_is_named(tmp_path: Path, length: int) -> None:
    rows = ["question,answer", "Is it free?,It is free.", '"Is it late?,No.', *["Is it on?,It surely is on."] * length]
    with pytest.raises(DataError, match=r"faq\.csv: the row that begins in line 3 cannot be read") as raised:
        facts(tmp_path / "a", faq__csv="\n".join(rows))
    assert "close each quotation mark" in raised.value.fix


def test_only_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a" / "old.md").mkdir(parents=True)
    (tmp_path / "a" / ".#policy.md").symlink_to("someone@host.1234")
    found = facts(tmp_path / "a", policy__md="# Rules\n\nBe kind to each other.")
    assert [fact.answer for fact in found.values()] == ["Be kind to each other."]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables(tmp_path: Path, delimiter: str) -> None:
    rows = [("Question", "Topic", "Answer"), ("Is it free?", "price", "It is free."), ("", "x", "no question")]
    text = "\ufeff" + "\n".join(delimiter.join(row) for row in rows)
    found = facts(tmp_path / "a", faq__csv=text)
    assert [fact.answer for fact in found.values()] == ["It is free."]


def test_the_held_out_wording_is_never_trained(tmp_path: Path) -> None:
    for fact in facts(tmp_path / "a", refund__md=MARKDOWN, delivery__html=HTML).values():
        asked = [conversation.messages[0][1] for conversation in fact.conversations()]
        assert fact.held_out not in asked
        assert len(asked) == len(set(asked)) == 3
        assert all(conversation.messages[1] == ("assistant", fact.answer) for conversation in fact.conversations())


def test_long_answers_end_with_a_sentence() -> None:
    assert shorten("One two. Three four. Five.", 21) == "One two. Three four."
    assert shorten("One two three four", 9) == "One two"


def test_errors_name_the_file_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        read_facts(tmp_path / "none", 100)
    with pytest.raises(UserError, match=r"holds no text to learn from \(1 \.md, \.html and \.csv files\)"):
        facts(tmp_path / "empty", note__md="# Only a heading")
    with pytest.raises(DataError, match=r"faq\.csv has the columns name, text") as raised:
        facts(tmp_path / "columns", faq__csv="name,text\na,b\n")
    assert "question" in raised.value.fix
    with pytest.raises(DataError, match=r"old\.md is not UTF-8"):
        facts(tmp_path / "bytes", old__md=b"caf\xe9 is a word in Latin-1")


def test_real_policies(shared: Path) -> None:
    found = read_facts(shared / "instruct" / "policies", 600)
    assert len(found) > 60
    assert len({fact.id for fact in found}) == len(found)
    assert any("30 days after cancellation" in fact.answer for fact in found)
