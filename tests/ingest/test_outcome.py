"""Counts of the records of a file."""

from __future__ import annotations

import pytest

from gptoss.ingest.outcome import FileOutcome


def test_counts_that_do_not_add_up_raise() -> None:
    outcome = FileOutcome("a", records=4, documents=1, rejected={"x": 1}, skipped={"y": 2})
    outcome.check()
    outcome.records = 5
    with pytest.raises(RuntimeError, match="a: 5 records, but 1 documents"):
        outcome.check()
