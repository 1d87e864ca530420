"""The share of words that are in a list, as a filter; off by default, because lists know words and not meaning.

A word is what stands between white space, in lower case, without marks around it; a phrase counts with all its words.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]

_MARKS = r"^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$"


def listed_fraction(texts: pa.Array, terms: Iterable[str]) -> npt.NDArray[np.float64]:
    """The share of the words of each text that belong to a term, float64 [texts]; 0 for a text without words."""
    lists = pc.utf8_split_whitespace(texts)
    owners, pieces = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    filled = pc.not_equal(pieces, "")
    owners, pieces = owners[filled.to_numpy(zero_copy_only=False)], pieces.filter(filled)
    encoded = pieces.dictionary_encode()
    bare = pc.replace_substring_regex(pc.utf8_lower(encoded.dictionary), _MARKS, "")
    phrases = sorted({phrase for term in terms if (phrase := tuple(_words(term)))})
    vocabulary = sorted({word for phrase in phrases for word in phrase})
    known = pc.fill_null(pc.index_in(bare, pa.array(vocabulary, bare.type)), -1).to_numpy().astype(np.int64)
    codes = known[encoded.indices.to_numpy()] if len(pieces) else np.zeros(0, dtype=np.int64)
    listed = _listed(codes, owners, phrases, {word: code for code, word in enumerate(vocabulary)})
    words = np.bincount(owners, minlength=len(texts))
    return np.bincount(owners, listed, len(texts)) / np.maximum(words, 1)


def _listed(
    codes: Integers, owners: Integers, phrases: list[tuple[str, ...]], code_of: dict[str, int]
) -> npt.NDArray[np.bool_]:
    """Which words belong to a phrase, bool [words]; `codes` int64 [words]: places in the vocabulary, -1 for none."""
    single = np.zeros(len(code_of) + 1, dtype=np.bool_)
    single[[code_of[phrase[0]] for phrase in phrases if len(phrase) == 1]] = True
    listed = single[codes]  # the last place, which -1 means, is no word
    places = np.flatnonzero(codes >= 0)
    for phrase in (phrase for phrase in phrases if len(phrase) > 1):
        starts = places[codes[places] == code_of[phrase[0]]]
        starts = starts[starts + len(phrase) <= len(codes)]
        for step, word in enumerate(phrase[1:], start=1):
            starts = starts[(codes[starts + step] == code_of[word]) & (owners[starts + step] == owners[starts])]
        listed[(starts[:, None] + np.arange(len(phrase))).ravel()] = True
    return listed


def _words(term: str) -> list[str]:
    bare = pc.replace_substring_regex(pa.array(term.lower().split(), pa.string()), _MARKS, "")
    return [word for word in bare.to_pylist() if word]
