"""The filters of `curate`, in the order in which they apply.

Adding one touches a new file in this folder and a line in `FILTERS`. `length.py` is a complete example that is off
by default: a class with a name, a reference, a `Config` for `curate.filters.NAME` and one method for a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptoss.config.yaml_sections import check
from gptoss.core.errors import UserError
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.curate.filters.language import LanguageFilter
from gptoss.curate.filters.length import LengthFilter
from gptoss.curate.filters.license import LicenseFilter
from gptoss.curate.filters.personal_data import PersonalDataFilter, RedactPersonalData
from gptoss.curate.filters.quality import QualityFilter
from gptoss.curate.filters.repeated_lines import RepeatedLinesFilter
from gptoss.curate.filters.toxicity import ToxicityFilter
from gptoss.curate.filters.url import UrlFilter

__all__ = ["FILTERS", "Filter", "FilterContext", "check_filter_settings", "create_filters", "prepare_filters"]

FILTERS: tuple[type[Filter], ...] = (
    RedactPersonalData,  # first: no output may contain personal data, the tables of removed documents included
    UrlFilter,
    LicenseFilter,
    RepeatedLinesFilter,  # before language and quality, which would otherwise measure navigation menus
    LanguageFilter,
    QualityFilter,  # Gopher, Gopher's repetition rules, C4, FineWeb: they share one split into words
    LengthFilter,
    ToxicityFilter,
    PersonalDataFilter,  # last: a document that another filter removes as well is counted under that filter's reason
)


def prepare_filters(context: FilterContext) -> dict[str, dict[str, Any]]:
    """Constructor arguments, by name, of the filters that are on for this source."""
    # Names and JSON, not objects: this travels to tasks in other processes and on other machines, and is part of their
    # identity, so that a task whose filters changed is run again.
    prepared = {each.name: each.prepare(context) for each in FILTERS}
    return {name: arguments for name, arguments in prepared.items() if arguments is not None}


def create_filters(prepared: Mapping[str, dict[str, Any]]) -> list[Filter]:
    """The filters that are on, in their order."""
    return [each(**prepared[each.name]) for each in FILTERS if each.name in prepared]


def check_filter_settings(settings: Mapping[str, dict[str, Any] | None]) -> None:
    """Check `curate.filters`. Errors: `UserError` for a name without a filter, an unknown key, a wrong value."""
    # Filters with a key of their own in `curate` inherit `Config` and take nothing from `curate.filters`.
    configurable = {each.name: each.Config for each in FILTERS if "Config" in vars(each)}
    for name, values in settings.items():
        if name not in configurable:
            raise UserError(
                f"curate.filters names {name!r}, which is not a filter",
                f"choose one of {', '.join(configurable)}, or add a filter to gptoss/curate/filters",
            )
        if values is not None:
            check(configurable[name], values, origin=f"curate.filters.{name}")
