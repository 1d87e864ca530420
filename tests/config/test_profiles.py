"""Profiles compose to complete configurations."""

from __future__ import annotations

import pytest

from gptoss.config.profiles import compose, merge
from gptoss.core.errors import UserError
from tests.conftest import ROOT


def test_mappings_merge_and_sources_are_replaced() -> None:
    below = {"a": {"x": 1, "y": 2}, "sources": {"w": 1}, "list": [1, 2]}
    above = {"a": {"y": 3}, "sources": {"g": 2}, "list": [3]}
    assert merge(below, above) == {"a": {"x": 1, "y": 3}, "sources": {"g": 2}, "list": [3]}
    assert below["a"] == {"x": 1, "y": 2}


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"20b, 30b, 70b, tiny"):
        compose("huge", ROOT / "profiles")
