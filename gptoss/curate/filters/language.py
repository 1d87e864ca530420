"""Measures the language of every document and removes those in a language that is not wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.quality.language import identify_all


class LanguageFilter(Filter):
    """Configured by `curate.languages`. Reason `language`, detail such as `de != en`. Sets the column `language`.

    References: the detector is that of resiliparse (Bevendorff et al. 2018); see `gptoss/quality/language.py`.
    """

    name = "language"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        return {"wanted": list(context.curate.languages)}

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted = wanted

    def apply(self, batch: DocumentBatch) -> None:
        # The texts as edited, without boilerplate: navigation menus are often in another language than the article.
        languages = identify_all(batch.texts, batch.ingested.column("language"), self.wanted)
        batch.replace_column("language", languages)
        unwanted = pc.invert(pc.is_in(languages, pa.array(self.wanted, pa.string())))
        batch.remove(unwanted, "language", pc.binary_join_element_wise(languages, ", ".join(self.wanted), " != "))
