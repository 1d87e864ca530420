"""Redacts personal data, and removes documents with a kind of it that the settings do not tolerate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.pii.redact import redact


class RedactPersonalData(Filter):
    """Configured by `curate.personal_data`. Edits texts and titles, removes nothing.

    References: FineWeb (Penedo et al. 2024) for email and IP addresses; `gptoss/pii` for the other kinds.
    """

    name = "redact"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        return {"kinds": context.curate.personal_data.redacted_kinds}

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds

    def apply(self, batch: DocumentBatch) -> None:
        texts = redact(batch.texts, self.kinds)
        # Titles are written to both tables and come from the same pages.
        titles = redact(batch.ingested.column("title"), self.kinds)
        # Both what kept documents are written with and what removed ones are.
        batch.texts = texts.texts
        batch.replace_column("text", texts.texts)
        batch.replace_column("title", titles.texts)
        batch.personal_data = {kind: counts + titles.counts[kind] for kind, counts in texts.counts.items()}
        for kind, counts in batch.personal_data.items():
            batch.counts[f"redacted.{kind}"] += int(counts.sum())


class PersonalDataFilter(Filter):
    """Configured by `curate.personal_data`: kinds set to `drop`. Reason `personal_data.KIND`, detail `N found`."""

    name = "personal_data"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        kinds = [kind for kind, treatment in context.curate.personal_data if treatment == "drop"]
        return {"kinds": kinds} if kinds else None

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds

    def apply(self, batch: DocumentBatch) -> None:
        for kind, counts in batch.personal_data.items():  # in the order of detection: the first kind is the reason
            if kind in self.kinds:
                detail = pc.binary_join_element_wise(pa.array(counts).cast(pa.string()), "found", " ")
                batch.remove(counts > 0, f"personal_data.{kind}", detail)
