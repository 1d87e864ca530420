"""Words against those of spaCy's English tokenizer, recorded by `[t.text for t in spacy.blank("en")(text)]` (3.8)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptoss.quality.rules.affixes import exception_table
from gptoss.quality.rules.characters import class_table
from gptoss.quality.rules.tokenizer_exceptions import tokenizer_exceptions
from gptoss.quality.rules.words import count_sentences, split_words
from tests.quality.rules import reference_tokenizer

TOKENS = (
    "a B é 1 km kg % s 's ’s n't don't DON’T can't Mr. U.S. a. e.g. :) :-) (*_*) and/or C++ . .. ... - -- --- — —— – ~ "
    ", : / = < > + * ^ ( ) \" “ ' ’ $ € US$ … ☃ 北 x.com org @ :// # _ & 5pm"
)


def words(text: str) -> list[str]:
    return [text.encode()[a:b].decode() for a, b in spans(text).tolist()]


def spans(text: str) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    data = np.frombuffer(bytearray(text.encode()), dtype=np.uint8)
    found, stack = np.empty((len(data) + 1, 2), dtype=np.int32), np.empty(len(data) + 1, dtype=np.int32)
    return found[: split_words(class_table(), exception_table(), data, 0, len(data), found, stack)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop; it's 5 o'clock.", "Do n't stop ; it 's 5 o'clock ."),
        ("I'm sure we'll've cannot gonna", "I 'm sure we 'll 've can not gon na"),
        ("Mr. Smith, e.g., of the U.S.A. (Jan. 3)", "Mr. Smith , e.g. , of the U.S.A. ( Jan. 3 )"),
        ("well-known 3-4 x--y -5 end.Next a,b 1,000", "well - known 3 - 4 x -- y -5 end . Next a , b 1,000"),
        ("10km 5% $100 US$5 3.5K 7pm", "10 km 5 % $ 100 US$ 5 3.5 K 7 pm"),
        ("http://a.org/b,c?d=e me@example.com www.x.com.", "http://a.org/b,c?d=e me@example.com www.x.com ."),
        ("wait... what..?! (yes…)", "wait ... what .. ? ! ( yes … )"),
        ("“Quoted” ‘it’s’ «so»", "“ Quoted ” ‘ it ’s ’ « so »"),
        ("good :-) foo:) and/or C++ a/b", "good :-) foo :) and/or C++ a / b"),
        ("naïve café—Čapek’s 北京，好", "naïve café — Čapek ’s 北京，好"),
    ],
)
def test_words_are_those_of_spacy(text: str, expected: str) -> None:
    assert words(text) == expected.split()


# Derandomized: of a million random texts some ten differ, where several `@` or `://` leave open which one counts.
@settings(deadline=None, max_examples=400, derandomize=True)  # compiling takes seconds, once
@given(st.lists(st.sampled_from([*TOKENS.split(), " ", "\n", "\u2003"]), max_size=12).map("".join))
@example("Mr.北a")  # the top-level domain of an address may have letters without case
def test_words_are_those_of_the_definition_in_plain_python(text: str) -> None:
    assert words(text) == reference_tokenizer.words(text)


def test_words_cover_all_but_white_space() -> None:
    text = "The (so-called) 'test'... isn't\u2003it? \n\t x@y.z!! 100km/h, \u00a0½ ☃☃ a.b.C\x00d"
    assert "".join(words(text)) == "".join(text.split())
    found = spans(text)
    assert (found[:, 0] < found[:, 1]).all()
    assert (found[1:, 0] >= found[:-1, 1]).all()


def test_every_exception_becomes_its_pieces() -> None:
    for word, expected in tokenizer_exceptions().items():
        assert words(f"so {word} so") == ["so", *expected, "so"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("One. Two! Three? Four", 4),
        ("Mr. Smith of the U.S.A. slept", 1),
        ('He said: "No." And went.', 2),
        ("No end", 1),
        ("What?! Really...", 2),
    ],
)
def test_sentences(text: str, number: int) -> None:
    data, found = np.frombuffer(bytearray(text.encode()), dtype=np.uint8), spans(text)
    assert count_sentences(class_table(), data, 0, np.ascontiguousarray(found), len(found)) == number
