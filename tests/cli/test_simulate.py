"""Errors of `gptoss simulate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.cli.simulate import tabulate
from gptoss.core.errors import UserError
from tests.training_runs import ROOT


def test_a_batch_that_does_not_divide_is_explained(workspace: Path) -> None:
    (workspace / "profiles").symlink_to(ROOT / "profiles")
    with pytest.raises(UserError, match=r"16 sequences; 16 / .*= 0.5 per rank"):
        tabulate(["tiny"], ["a100-80gb-128"], all_stages=False, markdown=None)
    with pytest.raises(UserError, match="2 profiles and 1 clusters"):
        tabulate(["20b", "30b"], ["a100-80gb-64"], all_stages=False, markdown=None)
