"""The fixtures of plans."""

from tests.estimate.conftest import crawl, no_retry_pauses

__all__ = ["crawl", "no_retry_pauses"]
