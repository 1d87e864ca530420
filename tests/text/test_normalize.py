"""The normaliser against plain Python."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.text.mixing import mix
from gptoss.text.normalize import Words, character_map, find_words

without_deadline = settings(deadline=None)  # the first call imports Numba and builds the table of characters

VALID = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=6)

MIXED = "abzAZmM019_@[`{/:\x7f .éÉжЖ日𝐁\0\u0301\u2126" + "aeiou" * 4
"""Mostly ASCII, its limits, and characters of every length."""


def normalised(words: Words) -> list[str]:
    return [words.texts[start:end].tobytes().decode() for start, end in pairwise(words.bounds.tolist())]


def reference(text: str) -> list[str]:
    """Lowercase, every run of non-word characters to one space."""
    lowered = "".join(
        "i" if char == "\u0130" else char.lower() for char in text
    )  # the full lowercase of İ has two characters
    spaced = [char if char == "_" or unicodedata.category(char)[0] in "LMN" else " " for char in lowered]
    return "".join(spaced).split(" ") if "".join(spaced).strip() else []


def reference_words(text: str) -> list[str]:
    return [word for word in reference(text) if word]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("?!", ""),
        ("  Hello,  World! ", "hello world"),
        ("don't—stop", "don t stop"),
        ("snake_case 3.14", "snake_case 3 14"),
        ("ÜBER Größe ΑΒΓ", "über größe αβγ"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),  # vowel signs are marks, and part of the word
        ("“quoted”\u00a0text\n", "quoted text"),
        ("𝐁old 😀 𝟙", "𝐁old 𝟙"),
    ],
)
def test_normalised_text(text: str, expected: str) -> None:
    assert normalised(find_words(pa.array([text]))) == [expected]


@without_deadline
@given(st.one_of(VALID, st.lists(st.text(MIXED, max_size=60), max_size=4)))
def test_words_equal_the_definition(texts: list[str]) -> None:
    words = find_words(pa.array(texts, pa.large_string()))
    expected = [reference_words(text) for text in texts]
    assert words.counts.tolist() == [len(found) for found in expected]
    assert normalised(words) == [" ".join(found) for found in expected]
    for row, found in enumerate(expected):
        assert words.ngram(int(words.offsets[row]), int(words.offsets[row + 1])) == " ".join(found).encode()


@without_deadline
@given(st.lists(st.binary(max_size=12), max_size=4))
def test_invalid_utf_8_is_no_word_and_no_text_is_read_past_its_end(texts: list[bytes]) -> None:
    tail = b"\xe6\x97"  # a character cut by the end of its text must not take from the next one
    given_bytes = [text + tail for text in texts] + [b"\xa5x"]
    words = find_words(raw(given_bytes))
    expected = [reference_words(text.decode(errors="replace")) for text in given_bytes]
    assert words.counts.tolist() == [len(found) for found in expected]
    assert words.texts.tobytes() == b"".join(" ".join(found).encode() for found in expected)


def raw(texts: list[bytes]) -> pa.Array:
    """Texts without validation, as a damaged file may contain them."""
    binary = pa.array(texts, pa.large_binary())
    return pa.LargeStringArray.from_buffers(len(texts), *binary.buffers()[1:])


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "word", "é", "_", "x" * 17, "ⱥȺ" * 9, "K\u212a"])
def test_single_words_and_empty_texts(text: str) -> None:
    words = find_words(pa.array(["", text, ""], pa.large_string()))
    assert normalised(words) == ["", " ".join(reference_words(text)), ""]


def test_lowercase_takes_at_most_twice_the_bytes() -> None:
    points = character_map(True)
    lengths = np.array([1, 2, 3, 4])
    before = lengths[np.searchsorted([0x80, 0x800, 0x10000], np.flatnonzero(points >= 0), side="right")]
    after = lengths[np.searchsorted([0x80, 0x800, 0x10000], points[points >= 0], side="right")]
    assert (after <= 2 * before).all()


@without_deadline
@given(VALID)
def test_words_of_the_original_text_are_the_same(texts: list[str]) -> None:
    column = pa.array(texts, pa.large_string())
    assert find_words(column, lowercase=False).counts.tolist() == find_words(column).counts.tolist()


def test_every_code_point_is_classified_and_lowercasing_never_moves_a_boundary() -> None:
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    column = pa.array(points, pa.large_string())
    counts = find_words(column, lowercase=False).counts
    assert np.array_equal(counts, find_words(column).counts)
    for point, count in zip(points, counts.tolist(), strict=True):
        assert count == (point == "_" or unicodedata.category(point)[0] in "LMN")


@without_deadline
@given(VALID, st.integers(1, 3))
def test_words_of_a_slice_equal_those_of_a_copy(texts: list[str], start: int) -> None:
    whole = find_words(pa.array(["front é"] * start + texts, pa.large_string()).slice(start))
    assert normalised(whole) == normalised(find_words(pa.array(texts, pa.large_string())))


def test_a_word_has_the_same_hash_everywhere() -> None:
    def hashes(*texts: str) -> list[int]:
        return list(find_words(pa.array(texts, pa.large_string())).hashes.tolist())

    long = "abcdefgh" * 3
    assert hashes("A b", f"x {long}b")[1:] == hashes("B", "x", f"{long}B")
    words = [long[:length] for length in range(1, 25)] + ["a\u0301", "á", "ab", "ba"]
    assert len(set(hashes(*words))) == len(set(words))
    assert hashes("cat") == [10982022512568808988]  # changing it invalidates stored signatures


@without_deadline
@given(st.lists(st.text(MIXED, max_size=60), max_size=4))
def test_word_hashes_equal_plain_python(texts: list[str]) -> None:
    words = find_words(pa.array(texts, pa.large_string()))
    expected = []
    for word in (word.encode() for text in texts for word in reference_words(text)):
        hashed = 0
        for start in range(0, len(word), 8):
            chunk = int.from_bytes(word[start : start + 8], "little")
            hashed = int(mix(np.array([hashed ^ chunk], dtype=np.uint64))[0])
        expected.append(hashed)
    assert words.hashes.tolist() == expected
