"""The fraction of words that are in a list. The filter is off by default, because lists contain words, not meaning.

A word is a run without white space, in lower case, without surrounding punctuation. For a phrase, all its words
count.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]

_PUNCTUATION = r"^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$"
UNLISTED = -1
"""Code of a word that no term contains."""


def listed_fraction(texts: pa.Array, terms: Iterable[str]) -> npt.NDArray[np.float64]:
    """The fraction of the words of each text that belong to a term, float64 [texts]; 0 for a text without words."""
    lists = pc.utf8_split_whitespace(texts)
    owners, words = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    not_empty = pc.not_equal(words, "")  # white space at the start or end of a text splits off an empty word
    owners, words = owners[not_empty.to_numpy(zero_copy_only=False)], words.filter(not_empty)
    encoded = words.dictionary_encode()  # most words of a batch are repetitions
    bare = pc.replace_substring_regex(pc.utf8_lower(encoded.dictionary), _PUNCTUATION, "")
    phrases = sorted({phrase for term in terms if (phrase := tuple(_words(term)))})
    vocabulary = sorted({word for phrase in phrases for word in phrase})
    codes_of = pc.fill_null(pc.index_in(bare, pa.array(vocabulary, bare.type)), UNLISTED).to_numpy().astype(np.int64)
    codes = codes_of[encoded.indices.to_numpy()] if len(words) else np.zeros(0, dtype=np.int64)
    listed = _listed(codes, owners, phrases, {word: code for code, word in enumerate(vocabulary)})
    totals = np.bincount(owners, minlength=len(texts))
    return np.bincount(owners, listed, len(texts)) / np.maximum(totals, 1)


def _listed(
    codes: Integers, owners: Integers, phrases: list[tuple[str, ...]], code_of: dict[str, int]
) -> npt.NDArray[np.bool_]:
    """Which words belong to a phrase, bool [words]. `codes` int64 [words]: positions in the vocabulary, or `UNLISTED`;
    `owners` int64 [words]: the text of each word."""
    single = np.zeros(len(code_of) + 1, dtype=np.bool_)
    single[[code_of[phrase[0]] for phrase in phrases if len(phrase) == 1]] = True
    listed = single[codes]  # `UNLISTED` is -1: the extra last entry, which is always false
    positions = np.flatnonzero(codes != UNLISTED)
    for phrase in (phrase for phrase in phrases if len(phrase) > 1):
        starts = positions[codes[positions] == code_of[phrase[0]]]
        starts = starts[starts + len(phrase) <= len(codes)]
        for step, word in enumerate(phrase[1:], start=1):
            starts = starts[(codes[starts + step] == code_of[word]) & (owners[starts + step] == owners[starts])]
        listed[(starts[:, None] + np.arange(len(phrase))).ravel()] = True
    return listed


def _words(term: str) -> list[str]:
    bare = pc.replace_substring_regex(pa.array(term.lower().split(), pa.string()), _PUNCTUATION, "")
    return [word for word in bare.to_pylist() if word]
