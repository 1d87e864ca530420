"""The fraction of listed words."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gptoss.quality.toxicity import listed_fraction


def test_listed_words_and_phrases_are_counted_once_each() -> None:
    terms = ["Bad", "very bad thing", "thing very", "naïve"]
    texts = ["A BAD, (very) bad thing.", "badly", "", "very bad", "thing very bad thing", "thing", "very naïve!"]
    shares = listed_fraction(pa.array(texts, pa.large_string()), terms)
    assert shares.tolist() == pytest.approx([4 / 5, 0, 0, 1 / 2, 1, 0, 1 / 2])
    assert listed_fraction(pa.array(["a"], pa.large_string()), []).tolist() == [0.0]
    assert listed_fraction(pa.array([], pa.large_string()), terms).tolist() == []
