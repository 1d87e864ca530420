"""Training runs of tiny models, shared with other packages through `tests/training_runs.py`."""

from __future__ import annotations

from tests.training_runs import (
    ROOT,
    VOCABULARY,
    checkout,
    cluster,
    free_port,
    make_run_config,
    rank_environment,
    tiny,
)

__all__ = ["ROOT", "VOCABULARY", "checkout", "cluster", "free_port", "make_run_config", "rank_environment", "tiny"]
