"""Lines as hashes, and texts without some of them, against Python's string methods."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.quality import repeated_lines
from gptoss.tables.documents import DOCUMENT, write_table

TEXTS = st.lists(st.text("ab \n\t\u00a0\u3000é.", max_size=30), max_size=6)


def found(texts: list[str], min_words: int = 1) -> repeated_lines.HashedLines:
    return repeated_lines.hash_lines(pa.array(texts, pa.large_string()), np.zeros(len(texts), np.uint64), min_words)


def cut(text: str, *numbers: int) -> str:
    here = found([text])
    marks = np.isin(np.arange(len(here.keys)), numbers)
    return str(repeated_lines.remove_lines(pa.array([text], pa.large_string()), here, marks)[0].as_py())


@settings(deadline=None)  # compiling takes seconds, once
@given(TEXTS, st.integers(1, 3))
def test_keys_are_equal_when_normalised_lines_are(texts: list[str], min_words: int) -> None:
    result = found(texts, min_words)
    words = [line.lower().split() for text in texts for line in text.split("\n")]
    assert len(result.keys) == len(words)
    wording = [" ".join(each) if len(each) >= min_words else "" for each in words]
    assert (result.keys == 0).tolist() == [not line for line in wording]
    assert len(set(result.keys.tolist())) == len(set(wording))
    contents = [[line.split() for line in text.split("\n") if line.split()] for text in texts]
    assert len(set(result.contents.tolist())) == len(set(map(str, contents)))


@settings(deadline=None)  # compiling takes seconds, once
@given(TEXTS)
def test_nothing_marked_changes_nothing_and_all_marked_leaves_nothing(texts: list[str]) -> None:
    array, here = pa.array(["other", *texts], pa.large_string()).slice(1), found(texts)
    none = np.zeros(len(here.keys), np.bool_)
    assert repeated_lines.remove_lines(array, here, none).to_pylist() == texts
    if texts:
        none[0] = True
        assert repeated_lines.remove_lines(array, here, none).to_pylist()[1:] == texts[1:]
    assert repeated_lines.remove_lines(array, here, np.ones(len(here.keys), np.bool_)).to_pylist() == [""] * len(texts)


def without_lines_in_python(text: str, marked: set[int]) -> str:
    """What `remove_lines` leaves of one text."""
    out, end, last_empty, removed_since_content = "", 0, True, False
    for number, line in enumerate(text.split("\n")):
        empty = not line.strip()
        if number in marked:
            removed_since_content = True
        elif not (empty and last_empty and removed_since_content):
            out += ("\n" if number and (out or not marked & set(range(number))) else "") + line
            last_empty = empty
            if not empty:
                end, removed_since_content = len(out), False
    return out[:end] if marked else out


@settings(deadline=None)  # compiling takes seconds, once
@given(st.text("a \n\u3000é", max_size=30), st.sets(st.integers(0, 10)))
def test_removed_lines_are_those_of_plain_python(text: str, numbers: set[int]) -> None:
    marked = {number for number in numbers if number <= text.count("\n")}
    assert cut(text, *marked) == without_lines_in_python(text, marked)


def test_empty_lines_around_a_cut_are_one() -> None:
    assert cut("nav\n\nbody", 0) == "body"
    assert cut("one\n\nnav\n\ntwo\n\n\nthree", 2) == "one\n\ntwo\n\n\nthree"
    assert cut("one\nnav\ntwo", 1) == "one\ntwo"
    assert cut("one\n\nnav\n \nfoot\n", 2, 4) == "one"


def test_texts_with_other_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="not the texts"):
        repeated_lines.remove_lines(pa.array(["a\nb\nc"], pa.large_string()), found(["a\nb"]), np.ones(2, np.bool_))


@pytest.mark.parametrize("ranges", [1, 7])
def test_ranges_of_keys_count_documents_exactly(tmp_path: Path, ranges: int) -> None:
    random = np.random.default_rng(1)
    texts = ["\n".join(f"line {word}" for word in random.zipf(1.5, 20) % 50) for _ in range(90)] + ["line 1"] * 9
    files = []
    for part in range(3):
        rows = [dict.fromkeys(DOCUMENT.names, "") | {"text": text} for text in texts[part::3]]
        write_table(tmp_path / f"{part}.parquet", pa.Table.from_pylist(rows, schema=DOCUMENT))
        files.append(str(tmp_path / f"{part}.npy"))
        repeated_lines.write_line_pairs(str(tmp_path / f"{part}.parquet"), files[-1], 2, False)
    counted: dict[int, int] = {}
    for number in range(ranges):
        repeated_lines.count_documents(files, number, ranges, 5, str(tmp_path / "range.npy"))
        counted |= dict(np.load(tmp_path / "range.npy").tolist())
    expected = Counter(line for text in set(texts) for line in set(text.split("\n")))
    wording = {key: line for line, key in zip(expected, found(["\n".join(expected)], 2).keys.tolist(), strict=True)}
    assert {wording[key]: number for key, number in counted.items()} == {
        line: number for line, number in expected.items() if number >= 5
    }
