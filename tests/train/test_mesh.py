"""How a rank joins the others and leaves them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from gptoss.core.errors import DataError, Preempted
from gptoss.launch import watchdog
from gptoss.train import parallel_context
from tests.train.conftest import cluster


class Joining:
    """torch.distributed on a rank of `size`, as far as `joined` uses it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = False

    def init_process_group(self, *_: Any, **__: Any) -> None:
        self.left = False

    def get_world_size(self) -> int:
        return self.size

    def get_rank(self) -> int:
        return 0

    def new_group(self, **_: Any) -> None: ...

    def destroy_process_group(self) -> None:
        self.left = True


@pytest.mark.parametrize(
    ("size", "error", "leaves"),
    [
        (2, None, True),
        (2, Preempted("stopped", "go on"), True),
        (2, DataError("a file is gone", ""), False),
        (2, KeyboardInterrupt(), False),
        (1, DataError("a file is gone", ""), True),
    ],
)
def test_a_rank_that_fails_alone_does_not_wait_for_the_others(
    size: int, error: BaseException | None, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Joining(size)
    monkeypatch.setattr(parallel_context, "dist", group)
    monkeypatch.setattr(parallel_context, "device_mesh", lambda *_: None)
    try:
        with parallel_context.init_parallel_context(cluster(shard=size)):
            if error:
                raise error
    except (DataError, Preempted, KeyboardInterrupt) as raised:
        assert raised is error
    assert group.left == leaves


def test_a_host_that_waits_for_the_sum_waits_for_other_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL returns at once, and reading the result waits: then the watchdog must not take this rank for the one that
    hangs."""
    seen: list[bool] = []
    monkeypatch.setattr(parallel_context.dist, "all_reduce", lambda _: seen.append(watchdog.waits(sys._getframe())))
    ranks = parallel_context.ParallelContext(0, 2, torch.device("cpu"), mesh=None, gloo_group=None)
    assert ranks.sum([1.0, 2]) == [1.0, 2.0]
    assert seen == [True] and not watchdog.waits(sys._getframe())


def test_gpus_add_up_halves_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    monkeypatch.setattr(parallel_context, "dist", Joining(1))
    monkeypatch.setattr(parallel_context, "device_mesh", lambda *_: None)
    monkeypatch.setattr(parallel_context, "_device", lambda _: torch.device("cuda", 0))
    try:
        with parallel_context.init_parallel_context(cluster()):
            assert not matmul.allow_fp16_reduced_precision_reduction
            assert not matmul.allow_bf16_reduced_precision_reduction
    finally:
        matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = True
