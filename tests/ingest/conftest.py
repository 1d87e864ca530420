"""Settings with one source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gptoss.config.settings import Settings


@pytest.fixture
def source_settings(settings_with: Callable[..., Settings]) -> Callable[..., Settings]:
    """Settings with the one source `sample`: `source_settings("arxiv", "raw/*.jsonl", max_files=2)`."""

    def make(format_: str, *urls: str, max_reject_fraction: float = 0.05, seed: int = 1234, **more: Any) -> Settings:
        sample = {"format": format_, "urls": list(urls), "license": "L", "language": "en"} | more
        return settings_with(
            **{"sources": {"sample": sample}, "ingest.max_reject_fraction": max_reject_fraction, "seed": seed}
        )

    return make
