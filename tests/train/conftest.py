"""Fixtures of `tests/training_runs.py`."""

from __future__ import annotations

from tests.training_runs import checkout, make_run_config, tiny

__all__ = ["checkout", "make_run_config", "tiny"]
