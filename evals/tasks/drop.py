"""DROP's answers and scores (Dua et al. 2019, section 5): the best exact match and F1 over the gold answers.

The measure itself is the one in lm-eval, which is the data set's own evaluation script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def first_answer(item: Mapping[str, Any]) -> str:
    """The answer that an example shows."""
    return ", ".join(item["answers"][0])


def score(item: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Exact match and F1 of one generated answer."""
    from lm_eval.tasks.drop.utils import get_metrics

    scores = [get_metrics([results[0].strip()], answer) for answer in item["answers"] if answer[0].strip()]
    return {
        "em": max((float(exact) for exact, _ in scores), default=0.0),
        "f1": max((float(f1) for _, f1 in scores), default=0.0),
    }
