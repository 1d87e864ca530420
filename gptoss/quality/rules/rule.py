"""A rule: a measure of a document and the bound that it must keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """`measure` must not be below (`<`) or above (`>`) `bound`; a document without the measure (NaN) keeps the rule."""

    name: str
    """Family and key of `curate.quality` that hold the bound, such as `gopher.min_words`."""
    measure: str
    side: str
    bound: float

    def broken(self, measured: Floats) -> npt.NDArray[np.bool_]:
        """Which documents break the rule, bool [documents]."""
        return measured < self.bound if self.side == "<" else measured > self.bound

    def explain(self, value: float) -> str:
        """The measured value and the bound, such as `mean_word_length 2.1 < 3`."""
        return f"{self.measure} {value:.6g} {self.side} {self.bound:g}"
