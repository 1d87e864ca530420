"""A rule: a measure of a document and the bound on it."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss.quality.rules.compiled import Flags, Floats


@dataclass(frozen=True)
class Rule:
    """Removes documents whose `measure` is below the bound of a key `min_...`, or above that of any other key."""

    family: str
    key: str
    """The key of `curate.quality.FAMILY` that configures the bound."""
    measure: str
    bound: float

    @property
    def name(self) -> str:
        """The reason in the removed table, such as `gopher.min_words`."""
        return f"{self.family}.{self.key}"

    @property
    def side(self) -> str:
        """The comparison by which a value breaks the rule."""
        return "<" if self.key.startswith("min_") else ">"

    def broken(self, values: Floats) -> Flags:
        """Which documents break the rule, bool [documents]."""
        # Comparisons with NaN are false: a document without the measure never breaks the rule.
        return values < self.bound if self.side == "<" else values > self.bound

    def explain(self, value: float) -> str:
        """The detail in the removed table: measured value and bound, such as `mean_word_length 2.1 < 3`."""
        return f"{self.measure} {value:.6g} {self.side} {self.bound:g}"
