"""Replaces personal data in a column of texts and counts the replacements by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.pii.detector import PersonalDataKind
from gptoss.pii.registry import KINDS

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Redaction:
    """A redacted column."""

    texts: pa.Array
    """large_string or string [texts], as the input."""
    counts: dict[str, Integers]
    """int64 [texts] by kind: replacements per text."""


def redact(texts: pa.Array, kinds: Sequence[str]) -> Redaction:
    """Replace personal data of these kinds (string or large_string [texts]; null stays null)."""
    counts = {}
    for name in (name for name in KINDS if name in kinds):  # in the order of KINDS, most specific first
        counts[name] = np.zeros(len(texts), dtype=np.int64)
        candidates = pc.fill_null(pc.match_substring_regex(texts, KINDS[name].prefilter), False)
        rows = np.flatnonzero(candidates.to_numpy(zero_copy_only=False))
        if len(rows):
            replaced, counts[name][rows] = _redact_lines(texts.filter(candidates), KINDS[name])
            texts = pc.replace_with_mask(texts, candidates, replaced)
    return Redaction(texts, counts)


def _redact_lines(texts: pa.Array, kind: PersonalDataKind) -> tuple[pa.Array, Integers]:
    """The texts, redacted, and the replacements per text."""
    # The prefilter is evaluated again per line: a book with one address has thousands of lines without any, and the
    # detectors cost far more per character than RE2.
    lists = pc.split_pattern(texts, "\n")
    candidates = pc.match_substring_regex(pc.list_flatten(lists), kind.prefilter).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(candidates)
    owners = pc.list_parent_indices(lists).to_numpy()[rows]
    line_numbers = rows - lists.offsets.to_numpy()[owners]
    lines = [text.split("\n") for text in texts.to_pylist()]
    counts = np.zeros(len(texts), dtype=np.int64)
    for owner, line in zip(owners.tolist(), line_numbers.tolist(), strict=True):
        lines[owner][line], count = kind.replace(lines[owner][line])
        counts[owner] += count
    return pa.array(["\n".join(each) for each in lines], texts.type), counts
