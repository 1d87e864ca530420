"""Training runs of tiny models: the fixtures of `tests/train`."""

from __future__ import annotations

from tests.training_runs import checkout, make_run_config, tiny

__all__ = ["checkout", "make_run_config", "tiny"]
