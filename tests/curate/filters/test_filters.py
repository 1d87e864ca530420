"""The list of filters, and a new filter: one class, one line in `FILTERS`, settings of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import PositiveInt

from gptoss.config.section import Section
from gptoss.config.settings import Settings
from gptoss.core.errors import UserError
from gptoss.curate import filters
from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters import FILTERS, Filter, FilterContext, create_filters, prepare_filters
from tests.curate.test_document_batch import batch_of


class CapitalsConfig(Section):
    max_words: PositiveInt


class CapitalsFilter(Filter):
    """Removes documents that shout."""

    name = "capitals"
    Config = CapitalsConfig
    config: CapitalsConfig

    def apply(self, batch: DocumentBatch) -> None:
        count = pc.count_substring_regex(batch.texts, r"\b[A-Z]{2,}\b")
        batch.remove(pc.greater(count, self.config.max_words), self.name, count.cast(pa.string()))


def context(settings: Settings, folder: Path) -> FilterContext:
    return FilterContext([], settings.curate, settings.sources["wikipedia"], folder)


def test_names_are_unique_and_every_filter_is_documented() -> None:
    assert len({each.name for each in FILTERS}) == len(FILTERS)
    assert all(each.__doc__ for each in FILTERS)


def test_the_default_filters_are_on_in_order(tmp_path: Path, settings: Settings) -> None:
    assert list(prepare_filters(context(settings, tmp_path))) == ["redact", "language", "quality"]


def test_a_new_filter_needs_its_class_and_a_line_in_filters(
    tmp_path: Path, settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "FILTERS", (*FILTERS, CapitalsFilter))
    settings = settings_with(**{"curate.filters": {"capitals": {"max_words": 1}}})
    *_, capitals = create_filters(prepare_filters(context(settings, tmp_path)))
    batch = batch_of("STOP SHOUTING now", "NASA did")
    capitals.apply(batch)
    assert (batch.reason.to_pylist(), batch.detail.to_pylist()) == (["capitals", None], ["2", None])
    for off in ({}, {"capitals": None}):
        prepared = prepare_filters(context(settings_with(**{"curate.filters": off}), tmp_path))
        assert "capitals" not in prepared


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lenght": {}}, "curate.filters names 'lenght', which is not a filter"),
        ({"language": {}}, "choose one of length"),
        ({"length": {"max_characters": 9, "min": 1}}, "curate.filters.length: min = 1: unknown key"),
        ({"length": {"max_characters": 0}}, "curate.filters.length: max_characters = 0"),
    ],
)
def test_wrong_settings_of_filters_fail_with_the_configuration(
    settings_with: Callable[..., Settings], wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        settings_with(**{"curate.filters": wrong})


def test_length_counts_characters(tmp_path: Path, settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(**{"curate.filters": {"length": {"min_characters": 2, "max_characters": 3}}})
    length = create_filters({"length": prepare_filters(context(settings, tmp_path))["length"]})[0]
    batch = batch_of("é", "北京", "word")
    length.apply(batch)
    assert batch.reason.to_pylist() == ["length", None, "length"]
    assert batch.detail.to_pylist() == ["1 characters", None, "4 characters"]
