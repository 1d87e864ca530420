"""Removes documents in which too many words are in a list, such as a list of obscene words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.quality.toxicity import listed_fraction
from gptoss.quality.word_lists import read_list


class ToxicityFilter(Filter):
    """Configured by `curate.toxicity`. Reason `toxicity`, detail such as `listed words 0.04 > 0.03`.

    References: C4 (Raffel et al. 2020, section 2.2) removes a page for a single listed word; a fraction keeps medical
    and legal texts, which such lists hit (Dodge et al. 2021, section 5.1).
    """

    name = "toxicity"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        toxicity = context.curate.toxicity
        if toxicity is None:
            return None
        # Read once here, so that all tasks see the same list even if its URL changes during the run.
        words = context.save("words", "\n".join(read_list(toxicity.words)).encode())
        return {"words": words, "max_fraction": toxicity.max_fraction}

    def __init__(self, words: str, max_fraction: float) -> None:
        self.words = tuple(Path(words).read_text(encoding="utf-8").splitlines())
        self.max_fraction = max_fraction

    def apply(self, batch: DocumentBatch) -> None:
        fractions = listed_fraction(batch.texts, self.words)
        # `.6g` and `:g` print the same on every machine; the detail is part of the output.
        detail = [f"listed words {value:.6g} > {self.max_fraction:g}" for value in fractions.tolist()]
        batch.remove(fractions > self.max_fraction, "toxicity", pa.array(detail, pa.string()))
