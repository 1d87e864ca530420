"""Removes documents whose licence is not in the list of the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.quality.urls import is_licensed


class LicenseFilter(Filter):
    """Configured by `sources.NAME.licenses`: globs of the licences to keep. Reason `license`, detail the licence."""

    name = "license"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        return {"licenses": list(context.source.licenses)} if context.source.licenses else None

    def __init__(self, licenses: Sequence[str]) -> None:
        self.licenses = licenses

    def apply(self, batch: DocumentBatch) -> None:
        # A document without a licence is removed too: what nobody granted is not granted.
        license_ = batch.ingested.column("license")
        batch.remove(pc.invert(is_licensed(license_, self.licenses)), "license", pc.fill_null(license_, "none"))
