"""How a rank joins and leaves the process group."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gptoss.core.errors import DataError, Preempted
from gptoss.train import parallel_context
from tests.training_runs import cluster


class FakeDistributed:
    """Stands in for torch.distributed on one of `size` ranks."""

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
        (2, DataError("a file is missing", ""), False),
        (2, KeyboardInterrupt(), False),
        (1, DataError("a file is missing", ""), True),
    ],
)
def test_a_rank_that_fails_alone_does_not_wait_for_the_others(
    size: int, error: BaseException | None, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = FakeDistributed(size)
    monkeypatch.setattr(parallel_context, "dist", group)
    monkeypatch.setattr(parallel_context, "device_mesh", lambda *_: None)
    try:
        with parallel_context.init_parallel_context(cluster(shard=size)):
            if error:
                raise error
    except (DataError, Preempted, KeyboardInterrupt) as raised:
        assert raised is error
    assert group.left == leaves


def test_gpus_add_up_halves_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    monkeypatch.setattr(parallel_context, "dist", FakeDistributed(1))
    monkeypatch.setattr(parallel_context, "device_mesh", lambda *_: None)
    monkeypatch.setattr(parallel_context, "_local_device", lambda _: torch.device("cuda", 0))
    try:
        with parallel_context.init_parallel_context(cluster()):
            assert not matmul.allow_fp16_reduced_precision_reduction
            assert not matmul.allow_bf16_reduced_precision_reduction
    finally:
        matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = True
