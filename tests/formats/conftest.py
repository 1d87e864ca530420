"""A source for readers."""

from __future__ import annotations

import pytest

from gptoss.config.source import SourceConfig


@pytest.fixture
def a_source() -> SourceConfig:
    """A source for readers, which look at its format and licence only."""
    return SourceConfig(format="mediawiki", urls=("x",), license="L", language="en")
