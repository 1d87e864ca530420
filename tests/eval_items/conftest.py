from __future__ import annotations

from pathlib import Path

import pytest

from tests.eval_items.checkout import link_evals


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A working directory with the checkout's suites and items."""
    link_evals(workspace)
    return workspace
