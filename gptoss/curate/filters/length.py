"""Removes documents that are too short or too long in characters. The example to copy for a new filter."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import PositiveInt

from gptoss.config.section import Section
from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter


class LengthConfig(Section):
    """Settings of this filter, in `curate.filters.length`."""

    min_characters: PositiveInt = 1
    max_characters: PositiveInt


class LengthFilter(Filter):
    """Configured by `curate.filters.length`, off without it. Reason `length`, detail such as `12 characters`.

    References: C4's and Gopher's bounds count words (`filters/quality.py`); this one serves scripts without spaces,
    in which a run of characters is one word.
    """

    name = "length"
    Config = LengthConfig
    config: LengthConfig

    def apply(self, batch: DocumentBatch) -> None:
        lengths = pc.utf8_length(batch.texts)
        outside = pc.or_(pc.less(lengths, self.config.min_characters), pc.greater(lengths, self.config.max_characters))
        batch.remove(outside, self.name, pc.binary_join_element_wise(lengths.cast(pa.string()), "characters", " "))
