"""Removes documents that break a published quality rule: the families Gopher, repetition, C4 and FineWeb."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from gptoss.config.curate import QualityConfig
from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.quality.rule_families import apply_rules


class QualityFilter(Filter):
    """Configured by `curate.quality`, of which each source chooses families in `sources.NAME.rules`.

    Reasons are `FAMILY.KEY` such as `gopher.min_words`, and `empty`. C4's line rules also edit the texts.
    The four families are one filter because one split into words, the expensive part, serves several of them.

    References: `gptoss/quality/rules/{gopher,repetition,c4,fineweb}.py` name each rule's paper and section.
    """

    name = "quality"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        # A source lists the families that suit its kind of text: C4's line rules, made for web pages, would cut verse.
        off = dict.fromkeys(QualityConfig.model_fields.keys() - set(context.source.rules))
        config = context.curate.quality.model_copy(update=off)
        return {"config": config.model_dump(mode="json")}

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = QualityConfig.model_validate(config)

    def apply(self, batch: DocumentBatch) -> None:
        results = apply_rules(batch.texts, batch.documents.column("language"), self.config)
        batch.texts = results.texts
        batch.measures |= results.measures
        batch.remove(pc.is_valid(results.reason), results.reason, results.detail)
