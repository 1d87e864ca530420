"""Labels fall on the assistant's tokens alone, token by token; the held-out split; truncation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gptoss.core.errors import DataError
from gptoss.finetune.examples import IGNORED, encode, make_examples
from gptoss.finetune.messages import Conversation
from tests.publish.toy import make_tokenizer

START, END = 2, 3
TWO_TURNS = Conversation(
    "x",
    (
        ("system", "Brief."),
        ("user", "Hello!"),
        ("assistant", "Good day."),
        ("user", "Rome?"),
        ("assistant", "Italy"),
    ),
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_only_the_answers_and_their_end_are_learned(tokenizer: Any) -> None:
    example, cut = encode(tokenizer, TWO_TURNS, 512)
    ids, labels = example["input_ids"], example["labels"]
    expected_ids: list[int] = []
    expected_labels: list[int] = []
    for role, content in TWO_TURNS.messages:
        head = [START, *tokenizer(f"{role}\n")["input_ids"]]
        body = [*tokenizer(content)["input_ids"], END]
        tail = tokenizer("\n")["input_ids"]
        expected_ids += head + body + tail
        learned = body if role == "assistant" else [IGNORED] * len(body)
        expected_labels += [IGNORED] * len(head) + learned + [IGNORED] * len(tail)
    assert ids == expected_ids
    assert labels == expected_labels
    assert not cut
    assert tokenizer.decode([label for label in labels if label != IGNORED]) == "Good day.<|im_end|>Italy<|im_end|>"


def test_a_training_prompt_is_the_prompt_of_generation(tokenizer: Any) -> None:
    example, _ = encode(tokenizer, Conversation("x", TWO_TURNS.messages[:3]), 512)
    prompt = tokenizer.apply_chat_template(
        Conversation("x", TWO_TURNS.messages[:2]).chat, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert example["input_ids"][: len(prompt)] == prompt
    assert example["labels"][len(prompt) - 1] == IGNORED
    assert example["labels"][len(prompt)] == example["input_ids"][len(prompt)]


def test_a_template_without_generation_marks_is_an_error(tokenizer: Any, tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    from transformers import AutoTokenizer

    unmarked = AutoTokenizer.from_pretrained(tmp_path)
    unmarked.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(DataError, match="marks no assistant tokens"):
        encode(unmarked, TWO_TURNS, 512)


def conversations(count: int, answer: str = "yes") -> list[Conversation]:
    return [Conversation(f"id-{n}", (("user", f"Question {n}"), ("assistant", answer))) for n in range(count)]


def test_the_split_is_a_function_of_the_id(tokenizer: Any) -> None:
    options: dict[str, Any] = {"max_length": 64, "fraction": 0.25, "seed": 1}
    few = make_examples(tokenizer, conversations(100), **options)
    many = make_examples(tokenizer, conversations(300), **options)
    assert set(few.held_out_ids) == {name for name in many.held_out_ids if int(name[3:]) < 100}
    assert 0.15 < len(many.held_out) / 300 < 0.35
    assert few.held_out_ids != make_examples(tokenizer, conversations(100), **options | {"seed": 2}).held_out_ids


def test_both_sides_of_a_tiny_split_hold_something(tokenizer: Any) -> None:
    for fraction in (0.001, 0.49):
        split = make_examples(tokenizer, conversations(2), max_length=64, fraction=fraction, seed=1)
        assert len(split.train) == len(split.held_out) == 1


def test_truncation_is_counted_and_an_example_without_answer_dropped(tokenizer: Any) -> None:
    long = Conversation("long", (("user", "Hi"), ("assistant", "yes " * 200)))
    lost = Conversation("lost", (("user", "why " * 200), ("assistant", "yes")))
    split = make_examples(tokenizer, [*conversations(4), long, lost], max_length=32, fraction=0.2, seed=1)
    assert (split.truncated, split.dropped) == (2, 1)
    assert max(len(example["input_ids"]) for example in split.train + split.held_out) == 32
    with pytest.raises(DataError, match=r"0 of 1 conversations fit instruct\.max_length\(32\)"):
        make_examples(tokenizer, [lost], max_length=32, fraction=0.2, seed=1)
