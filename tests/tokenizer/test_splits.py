"""Which documents are held out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gptoss.config.settings import Settings
from gptoss.tables.documents import document_id
from gptoss.tokenizer.splits import split_of


def test_the_split_depends_on_seed_and_id_alone(settings_with: Callable[..., Settings]) -> None:
    ids = [document_id("source", str(number), "") for number in range(20_000)]

    def held_out(settings: Settings) -> set[str]:
        return {document for document in ids if split_of(document, settings) == "validation"}

    three, six = (held_out(settings_with(**{"shards.validation_fraction": f})) for f in (0.03, 0.06))
    assert len(three) / len(ids) == pytest.approx(0.03, abs=0.005)
    assert three < six, "a larger fraction only adds documents"
    assert three != held_out(settings_with(seed=7))
