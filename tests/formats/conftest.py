"""A source for readers."""

from __future__ import annotations

import pytest

from gptoss.config.source import SourceConfig


@pytest.fixture
def a_source() -> SourceConfig:
    """A source for readers, which only read its options."""
    return SourceConfig(format="mediawiki", urls=("x",), license="L", language="en")
