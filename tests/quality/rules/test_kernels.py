"""The compiled kernels against straightforward plain Python."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.filters.agreement import C4_RULES, FINEWEB, OFF
from gptoss.config.curate import RepetitionConfig
from gptoss.quality.rules import c4, fineweb, gopher, repetition
from gptoss.quality.rules.characters import ALPHABETIC, NOT_PUNCTUATION, NOT_SYMBOL, TERMINAL, class_table
from gptoss.quality.rules.compiled import Bytes
from gptoss.quality.rules.text_lines import count_repeated, line_end, split_pieces, strip
from gptoss.quality.rules.web_addresses import is_address
from tests.quality.rules.reference_tokenizer import ADDRESS
from tests.quality.rules.test_words import words
from tests.quality.test_rule_families import cleaned, measured, run_rules

TEXTS = st.text("ab 1.-#•…?!\"'{[]\n\r\t\u0085\u2028\u3000é’", max_size=60)
WORDS = st.lists(st.sampled_from(["the", "of", "a", "bb", "café", "1", "The"]), max_size=40)
deadline_off = settings(deadline=None)  # compiling takes seconds, once


def utf8(text: str) -> Bytes:
    return np.frombuffer(bytearray(text.encode()), dtype=np.uint8)


@deadline_off
@given(TEXTS)
def test_lines_are_those_of_splitlines_and_strip(text: str) -> None:
    data, start, lines, stripped = utf8(text), 0, [], []
    while start < len(data):
        end, following = line_end(data, start)
        lines.append(bytes(data[start:end]).decode())
        first, last = strip(class_table(), data, start, end)
        stripped.append(bytes(data[first:last]).decode())
        start = following
    assert lines == text.splitlines()
    assert stripped == [line.strip() for line in lines]


@deadline_off
@given(st.text("ab\né", max_size=40), st.sampled_from([1, 2]))
def test_pieces_are_those_of_a_regular_expression(text: str, breaks: int) -> None:
    data = utf8(text)
    hashes, lengths = np.empty(len(data) + 1, dtype=np.int64), np.empty(len(data) + 1, dtype=np.int32)
    count = split_pieces(data, 0, len(data), breaks, hashes, lengths)
    pieces = re.split(rf"\n{{{breaks},}}", text)
    assert lengths[:count].tolist() == list(map(len, pieces))
    assert len(set(hashes[:count].tolist())) == len(set(pieces))
    earlier = [piece in pieces[:number] for number, piece in enumerate(pieces)]
    characters = sum(len(piece) for piece, repeats in zip(pieces, earlier, strict=True) if repeats)
    assert count_repeated(hashes, lengths, count) == (sum(earlier), characters)


@deadline_off
@given(TEXTS)
def test_gopher_measures_are_those_of_plain_python(text: str) -> None:
    classes, tokens, lines = class_table(), words(text), text.splitlines()

    def has(token: str, kind: int) -> bool:
        return any(classes[ord(character)] & kind for character in token)

    counted = [token for token in tokens if has(token, NOT_SYMBOL)]
    ellipses = text.replace("...", "…").count("…")
    expected = {
        "words": len(counted),
        "mean_word_length": sum(map(len, counted)) / max(len(counted), 1),
        "symbol_to_word_ratio": max(text.count("#"), ellipses) / max(len(tokens), 1),
        "bullet_line_fraction": sum(line.strip().startswith(("•", "-")) for line in lines) / max(len(lines), 1),
        "ellipsis_line_fraction": sum(line.strip().endswith(("...", "…")) for line in lines) / max(len(lines), 1),
        "alphabetic_word_fraction": sum(has(token, ALPHABETIC) for token in tokens) / max(len(tokens), 1),
        "stop_words": len(set(tokens) & set(gopher.ENGLISH_STOP_WORDS)),
    }
    assert measured(text, "gopher") == pytest.approx(expected)


def ngram_measures(tokens: list[str], n: int) -> tuple[int, int]:
    """Characters of the most frequent n-gram's occurrences, and of n-grams that occurred before, without overlaps."""
    ngrams = [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]
    (top, most), *_ = Counter(ngrams).most_common(1)  # of equally frequent ones the first
    seen: set[tuple[str, ...]] = set()
    repeated = at = 0
    while at < len(ngrams):
        if ngrams[at] in seen:
            repeated += sum(map(len, ngrams[at]))
            at += n
        else:
            seen.add(ngrams[at])
            at += 1
    return len(" ".join(top)) * most, repeated


@deadline_off
@given(WORDS)
def test_ngram_measures_are_those_of_plain_python(tokens: list[str]) -> None:
    sizes = range(1, 7)
    config = RepetitionConfig(
        **dict.fromkeys((f"max_{name}" for name in repetition.LINE_MEASURES), 1.0),
        max_top_ngram_characters=tuple((n, 1.0) for n in sizes),
        max_duplicate_ngram_characters=tuple((n, 1.0) for n in sizes),
    )
    text = " ".join(tokens)
    found = run_rules([text], OFF.model_copy(update={"repetition": config})).measures
    for n in sizes:
        top, repeated = ngram_measures(tokens, n) if len(tokens) >= n else (0, 0)
        assert found[f"top_{n}gram"][0] == pytest.approx(top / max(len(text), 1))
        assert found[f"duplicate_{n}gram"][0] == pytest.approx(repeated / max(len(text), 1))


@deadline_off
@given(TEXTS)
def test_fineweb_measures_are_those_of_plain_python(text: str) -> None:
    classes = class_table()
    lines = [line for line in text.split("\n") if line.strip()]
    repeated = [line for number, line in enumerate(lines) if line in lines[:number]]
    short = [line for line in lines if len(line) <= FINEWEB.short_line_length]
    expected = (
        sum(bool(classes[ord(line[-1])] & TERMINAL) for line in lines) / max(len(lines), 1),
        len(short) / max(len(lines), 1),
        sum(map(len, repeated)) / max(len(text.replace("\n", "")), 1),
        text.count("\n") / max(len(words(text)), 1),
    )
    found = measured(text, "fineweb")
    assert [found[name] for name in fineweb.MEASURES] == pytest.approx(list(expected))


def cleaned_in_python(text: str) -> str:
    """C4's line rules with the published settings, without those on documents."""
    kept = []
    for line in map(str.strip, text.splitlines()):
        tokens = line.split()
        bare = re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", line)
        if not bare.endswith((".", "?", "!", '"', "'")) or bare.endswith("..."):
            continue
        if len(tokens) < C4_RULES.min_words_per_line or any(len(token) > C4_RULES.max_word_length for token in tokens):
            continue
        if not any(phrase in bare.lower() for phrase in c4.PHRASES if phrase not in ("lorem ipsum", "{")):
            kept.append(bare)
    return "\n".join(kept).strip()


LINES = st.lists(
    st.sampled_from(
        ["[1]", "[edit]", "[citation needed]", "[", "]", "é", "Use", "cookies", "JavaScript", "privacy policy",
         "w" * 1001, " ", "\t", "\n", "\r\n", ".", "...", '"', "?", "one", "1"]
    ),
    max_size=40,
)  # fmt: skip


@deadline_off
@given(LINES)
def test_c4_leaves_what_plain_python_leaves(pieces: list[str]) -> None:
    text, expected = "".join(pieces), cleaned_in_python("".join(pieces))
    # A document that would become empty is removed and keeps its original text.
    assert cleaned(text) == (expected or text)


@deadline_off
@given(
    st.lists(
        st.sampled_from(["a", "B", "é", "1", ".", "-", "_", "@", ":", "/", "://", "#", "org", "http"]), max_size=12
    )
)
def test_addresses_are_those_of_the_regular_expression(pieces: list[str]) -> None:
    text = "".join(pieces)
    data = utf8(text)
    assert bool(is_address(class_table(), data, 0, len(data))) == bool(ADDRESS.fullmatch(text))


def test_a_mark_is_not_punctuation_only_outside_unicode_p() -> None:
    classes = class_table()
    assert not any(classes[ord(character)] & NOT_PUNCTUATION for character in ".,!?…")
    assert all(classes[ord(character)] & NOT_PUNCTUATION for character in "a1$+")
