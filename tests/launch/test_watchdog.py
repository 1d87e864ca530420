"""The watchdog distinguishes a rank that hangs from one that waits for others."""

from __future__ import annotations

import sys

import pytest
import torch

from gptoss.launch import watchdog
from gptoss.train import parallel_context


def test_a_host_that_waits_for_the_sum_waits_for_other_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL returns at once and reading the result blocks: such a rank must not be reported as the one that hangs."""
    seen: list[bool] = []
    monkeypatch.setattr(parallel_context.dist, "all_reduce", lambda _: seen.append(watchdog.waits(sys._getframe())))
    parallel = parallel_context.ParallelContext(0, 2, torch.device("cpu"), mesh=None, gloo_group=None)
    assert parallel.all_reduce_sum([1.0, 2]) == [1.0, 2.0]
    assert seen == [True] and not watchdog.waits(sys._getframe())
