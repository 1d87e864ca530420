"""Fixtures of `tests/training_runs.py`."""

from __future__ import annotations

from tests.training_runs import make_run_config, tiny

__all__ = ["make_run_config", "tiny"]
